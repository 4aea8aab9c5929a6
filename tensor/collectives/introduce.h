// The connecting side of hello.h: one conversation with a listener.
#pragma once

#include <string>

#include "tensor/collectives/hello.h"
#include "tensor/collectives/socket.h"

namespace fm {

struct Conversation {
  // silent: the listener closed the connection or sent no byte in time. foreign: it speaks another protocol. other_version, other_secret: it is a
  // flowmap process that does not belong to this job. ended: it closed the connection later. answered: it sent a genuine verdict.
  enum class End { silent, foreign, other_version, other_secret, ended, answered } end = End::silent;
  Verdict code = Verdict::refused;
  std::string text;                      // text of the verdict, printable; without a verdict the unexpected input, or the reason
};

// first_word_within: seconds for the challenge, which a listener sends at once. The verdict may take until the deadline.
Conversation introduce(const Socket& socket, const Hello& hello, const std::string& secret, double first_word_within, std::size_t most_text,
                       const Patience& patience);

}  // namespace fm
