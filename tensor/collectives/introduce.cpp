#include "tensor/collectives/introduce.h"

#include "tensor/error.h"

namespace fm {
namespace {

using End = Conversation::End;

// Receives until `to` has `bytes` bytes. `to` grows with the received bytes, not by an announced length.
Io receive_all(const Socket& s, std::string& to, std::size_t bytes, std::uint64_t magic, const Patience& patience) {
  for (;;) {
    const Io io = receive_some(s, to, bytes - to.size());
    if (to.size() == bytes || (magic != 0 && !may_begin(to, magic))) return Io::done;
    if (io == Io::closed) return Io::closed;
    if (patience.check) patience.check();
    if (patience.over()) return Io::late;
    wait_for_input({&s}, std::min(0.2, patience.deadline - steady_seconds()));
  }
}

Conversation foreign(const std::string& received) {
  return {End::foreign, Verdict::refused, "its first bytes are \"" + printable(received, 24) + "\""};
}

}  // namespace

Conversation introduce(const Socket& s, const Hello& hello, const std::string& secret, double first_word_within, std::size_t most_text,
                       const Patience& patience) {
  std::string transcript = encode(hello), received;
  send_all(s, transcript.data(), transcript.size(), patience);            // if this fails, no answer arrives below
  const Io first = receive_all(s, received, challenge_bytes, challenge_magic, patience.until(steady_seconds() + first_word_within));
  if (!may_begin(received, challenge_magic)) return foreign(received);
  if (first != Io::done)
    return {End::silent, Verdict::refused, first == Io::closed ? "it closes the connection without an answer" : "it says nothing"};
  if (const auto version = version_of_challenge(received); *version != rendezvous_protocol)
    return {End::other_version, Verdict::refused, std::to_string(*version)};
  transcript += received;
  const Digest proof = proof_of_rank(secret, transcript);
  if (send_all(s, proof.data(), proof.size(), patience) != Io::done) return {End::ended, Verdict::refused, ""};

  std::string head, text;
  if (receive_all(s, head, verdict_head_bytes, verdict_magic, patience) != Io::done) return {End::ended, Verdict::refused, ""};
  const auto verdict = decode_verdict_head(head, most_text);
  if (!verdict) return foreign(head);
  if (receive_all(s, text, verdict->bytes, 0, patience) != Io::done) return {End::ended, Verdict::refused, ""};
  if (!is_genuine(*verdict, text, secret, transcript)) return {End::other_secret, Verdict::refused, ""};
  return {End::answered, verdict->code, verdict->code == Verdict::welcome ? text : printable(text, most_bytes_of_reason)};
}

}  // namespace fm
