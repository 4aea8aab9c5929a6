// Accepts connections that prove the secret (hello.h). Other connections cannot delay them: all connections are read at the same time, each has a
// few seconds for its proof, and their number is limited. A connection that does not begin with a hello is closed at its first wrong byte.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/collectives/hello.h"
#include "tensor/collectives/socket.h"

namespace fm {

struct AdmissionRules {
  std::string secret;
  double prove_within = 10;              // seconds
  std::size_t most_pending = 128;        // connections that have not proved the secret yet; a further one closes the oldest
  // Called for a peer with another secret: its claimed rank and its address.
  std::function<void(int rank, const std::string& address)> wrong_secret = {};
};

class Admission {
 public:
  Admission(std::vector<Socket> listeners, AdmissionRules rules) : listeners_(std::move(listeners)), rules_(std::move(rules)) {}

  struct Guest {
    Hello hello;
    Socket socket;
    std::string transcript;              // the bytes of hello and challenge, which proofs cover
  };
  // Waits until a connection has proved the secret, at most `seconds`. Returns the connections that have proved it.
  std::vector<Guest> admit(double seconds);
  std::size_t pending() const { return pending_.size(); }

 private:
  struct Pending {
    Guest guest;
    std::string received;
    bool challenged = false;
    double deadline = 0;
  };
  enum class State { waiting, proved, over };
  bool accept_all();
  State hear_hello(Pending& p);
  State hear_proof(Pending& p);

  std::vector<Socket> listeners_;
  AdmissionRules rules_;
  std::vector<Pending> pending_;         // the oldest first
};

// Sends a guest the verdict and its reason.
Io answer(const Admission::Guest& guest, Verdict code, const std::string& text, const std::string& secret, const Patience& patience);

}  // namespace fm
