// The side of hello.h that connects: one conversation with what listens there.
#pragma once

#include <string>

#include "tensor/collectives/hello.h"
#include "tensor/collectives/socket.h"

namespace fm {

struct Conversation {
  // silent: it closed, or said nothing in time, before its first byte. foreign: it said something else. other_version, other_secret: a flowmap
  // that does not belong here. ended: it went away in the middle. answered: the verdict is proved, and believed.
  enum class End { silent, foreign, other_version, other_secret, ended, answered } end = End::silent;
  Verdict code = Verdict::refused;
  std::string text;                      // of the verdict, printable; else what came instead, or what was wrong
};

// first_word_within: seconds for the challenge, which whoever listens sends at once. The verdict may take until the deadline.
Conversation introduce(const Socket& socket, const Hello& hello, const std::string& secret, double first_word_within, std::size_t most_text,
                       const Patience& patience);

}  // namespace fm
