// Sockets with deadlines, for the rendezvous of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace fm {

double steady_seconds();

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

// Listens on all addresses; port 0: any that is free. ConfigError when it is taken.
Socket listen_on(int port);
int port_of(const Socket& socket);
std::string address_of_peer(const Socket& socket);

// Tries again and again until `deadline` (steady_seconds); closed when nobody answered until then. ConfigError: the name is unknown.
Socket connect_to(const std::string& host, int port, double deadline);
// Closed when nobody came.
Socket accept_from(const Socket& listener, double deadline);

// All bytes or false: the deadline passed or the other side went away.
bool send_all(const Socket& socket, const void* data, std::size_t bytes, double deadline);
bool receive_all(const Socket& socket, void* data, std::size_t bytes, double deadline);

}  // namespace fm
