// Sockets with deadlines, for the rendezvous of ranks. Every wait calls a function five times a second, which can end the wait.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fm {

double steady_seconds();
std::string seconds_text(double seconds);         // "0.3 s", "120 s"

struct Patience {
  double deadline = 0;                            // on steady_seconds()
  std::function<void()> check = {};               // its exception ends the wait
  Patience until(double earlier) const { return {std::min(deadline, earlier), check}; }
  bool over() const { return steady_seconds() >= deadline; }
};

void pause(double seconds, const Patience& patience);

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket();
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  int get() const { return descriptor_; }
  bool open() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

// Listens on the addresses of `host` that belong to this machine, and on no others: "localhost" is reachable from this machine only. "0.0.0.0",
// "::" and "" stand for all addresses. Port 0 stands for a free port, the same for all addresses. ConfigError if the port is taken, the name is
// unknown, or none of its addresses belongs to this machine.
std::vector<Socket> listen_at(const std::string& host, int port, const Patience& patience);
int port_of(const Socket& socket);
std::string address_of(const Socket& socket);          // address of this end of the connection, in digits
std::string address_of_peer(const Socket& socket);
bool is_loopback(const std::string& address);          // true for 127.x.x.x and ::1, in digits
// True if all addresses of this name are loopback addresses of the machine. False for unknown names.
bool means_this_machine_alone(const std::string& host, const Patience& patience);

// Connects. Retries until the deadline, because the listener may start later. An unknown name or an unreachable network ends the attempts after
// three seconds, an unresponsive name server after ten. On failure returns a closed socket, with the reason in *why. *hopeless is true if waiting
// longer would not have helped.
Socket connect_to(const std::string& host, int port, const Patience& patience, std::string* why, bool* hopeless);
// Returns a pending connection, ready for use, or a closed socket if none is pending.
Socket accept_now(const Socket& listener);

enum class Io { done, late, closed };
Io send_all(const Socket& socket, const void* data, std::size_t bytes, const Patience& patience);
// Appends the available bytes, at most `most`, to `to`. late: fewer than `most` were available. closed: the other side has closed the connection,
// or the connection is broken.
Io receive_some(const Socket& socket, std::string& to, std::size_t most);
// Waits until one of the sockets can be read, at most `seconds`.
void wait_for_input(const std::vector<const Socket*>& sockets, double seconds);

}  // namespace fm
