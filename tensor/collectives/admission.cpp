#include "tensor/collectives/admission.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace fm {
namespace {

// Sends a few bytes without waiting: the send buffer of a new connection is empty and has room for them.
bool send_now(const Socket& s, const std::string& bytes) { return send_all(s, bytes.data(), bytes.size(), {steady_seconds()}) == Io::done; }

}  // namespace

bool Admission::accept_all() {
  bool any = false;
  for (const Socket& listener : listeners_)
    for (Socket s; (s = accept_now(listener)).open(); any = true) {
      if (pending_.size() >= rules_.most_pending) pending_.erase(pending_.begin());
      Pending p;
      p.guest.socket = std::move(s);
      p.deadline = steady_seconds() + rules_.prove_within;
      pending_.push_back(std::move(p));
    }
  return any;
}

Admission::State Admission::hear_hello(Pending& p) {
  const Io io = receive_some(p.guest.socket, p.received, hello_bytes - p.received.size());
  if (!may_begin(p.received, hello_magic)) return State::over;
  if (p.received.size() < hello_bytes) return io == Io::closed ? State::over : State::waiting;
  const auto hello = decode_hello(p.received);
  if (!hello) return State::over;
  p.guest.hello = *hello;
  p.guest.transcript = p.received + encode_challenge(random_bytes(nonce_bytes));
  // The challenge is sent even to a process of another version, which reads this version from it.
  if (!send_now(p.guest.socket, p.guest.transcript.substr(hello_bytes)) || hello->version != rendezvous_protocol) return State::over;
  p.received.clear();
  p.challenged = true;
  return State::waiting;
}

Admission::State Admission::hear_proof(Pending& p) {
  Digest proof;
  const Io io = receive_some(p.guest.socket, p.received, proof.size() - p.received.size());
  if (p.received.size() < proof.size()) return io == Io::closed ? State::over : State::waiting;
  std::copy(p.received.begin(), p.received.end(), proof.begin());
  if (same_digest(proof, proof_of_rank(rules_.secret, p.guest.transcript))) return State::proved;
  if (rules_.wrong_secret) rules_.wrong_secret(p.guest.hello.rank, address_of_peer(p.guest.socket));
  send_now(p.guest.socket, encode_verdict(Verdict::refused, "another secret", rules_.secret, p.guest.transcript));
  return State::over;
}

std::vector<Admission::Guest> Admission::admit(double seconds) {
  std::vector<Guest> guests;
  const double until = steady_seconds() + seconds;
  do {
    std::vector<const Socket*> all;
    for (const Socket& s : listeners_) all.push_back(&s);
    for (const Pending& p : pending_) all.push_back(&p.guest.socket);
    wait_for_input(all, until - steady_seconds());
    bool any = accept_all();
    for (Pending& p : pending_) {
      const std::size_t before = p.received.size();
      State state = p.challenged ? State::waiting : hear_hello(p);
      if (state == State::waiting && p.challenged) state = hear_proof(p);
      any = any || state != State::waiting || p.received.size() != before;
      if (state == State::proved) guests.push_back(std::move(p.guest));
      if (state == State::over || steady_seconds() > p.deadline) p.guest.socket = Socket();
    }
    any = std::erase_if(pending_, [](const Pending& p) { return !p.guest.socket.open(); }) > 0 || any;
    // Nothing was done before the deadline: a connection that waits cannot be accepted, because no descriptor is free.
    if (!any && steady_seconds() < until) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } while (guests.empty() && steady_seconds() < until);
  return guests;
}

Io answer(const Admission::Guest& guest, Verdict code, const std::string& text, const std::string& secret, const Patience& patience) {
  const std::string bytes = encode_verdict(code, text, secret, guest.transcript);
  return send_all(guest.socket, bytes.data(), bytes.size(), patience);
}

}  // namespace fm
