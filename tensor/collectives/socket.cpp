#include "tensor/collectives/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "tensor/error.h"

namespace fm {
namespace {

bool wait_for(int descriptor, short events, double deadline) {
  for (;;) {
    const double left = deadline - steady_seconds();
    if (left <= 0) return false;
    pollfd p{descriptor, events, 0};
    const int n = poll(&p, 1, static_cast<int>(std::min(left, 3600.0) * 1000) + 1);
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

Socket prepared(int descriptor) {
  const int on = 1;
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return Socket(descriptor);
}

Socket try_listen(int family, int port) {
  Socket s(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!s.open()) return s;
  const int on = 1, off = 0;
  setsockopt(s.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in);
  if (family == AF_INET6) {
    setsockopt(s.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
    v6.sin6_family = AF_INET6, v6.sin6_port = htons(static_cast<std::uint16_t>(port)), v6.sin6_addr = in6addr_any;
    length = sizeof(sockaddr_in6);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address);
    v4.sin_family = AF_INET, v4.sin_port = htons(static_cast<std::uint16_t>(port)), v4.sin_addr.s_addr = htonl(INADDR_ANY);
  }
  if (bind(s.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(s.get(), 1024) != 0) return {};
  fcntl(s.get(), F_SETFL, fcntl(s.get(), F_GETFL) | O_NONBLOCK);
  return s;
}

Socket try_connect(const addrinfo& a, double deadline) {
  const int descriptor = socket(a.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return {};
  Socket s = prepared(descriptor);
  if (connect(descriptor, a.ai_addr, a.ai_addrlen) == 0) return s;
  if (errno != EINPROGRESS || !wait_for(descriptor, POLLOUT, deadline)) return {};
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 ? std::move(s) : Socket();
}

}  // namespace

double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Socket listen_on(int port) {
  Socket s = try_listen(AF_INET6, port);
  if (!s.open()) s = try_listen(AF_INET, port);
  if (!s.open()) throw ConfigError("rank 0 cannot listen on port " + std::to_string(port) + ": " + std::strerror(errno) + "; choose another");
  return s;
}

int port_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

std::string address_of_peer(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  char text[NI_MAXHOST] = "";
  getnameinfo(reinterpret_cast<sockaddr*>(&address), length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  const std::string name = text, mapped = "::ffff:";
  return name.starts_with(mapped) ? name.substr(mapped.size()) : name;
}

Socket connect_to(const std::string& host, int port, double deadline) {
  double pause = 0.02;
  for (;;) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (code != 0 && code != EAI_AGAIN)
      throw ConfigError("the address of rank 0, " + host + ", is unknown here: " + gai_strerror(code));
    for (const addrinfo* a = found; code == 0 && a; a = a->ai_next)
      if (Socket s = try_connect(*a, std::min(deadline, steady_seconds() + 5)); s.open()) {
        freeaddrinfo(found);
        return s;
      }
    if (code == 0) freeaddrinfo(found);
    if (steady_seconds() + pause > deadline) return {};
    std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    pause = std::min(1.0, pause * 1.5);
  }
}

Socket accept_from(const Socket& listener, double deadline) {
  while (wait_for(listener.get(), POLLIN, deadline)) {
    const int descriptor = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor >= 0) return prepared(descriptor);
  }
  return {};
}

bool send_all(const Socket& socket, const void* data, std::size_t bytes, double deadline) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    if (!wait_for(socket.get(), POLLOUT, deadline)) return false;
    const ssize_t n = send(socket.get(), at, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n > 0) at += n, bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

bool receive_all(const Socket& socket, void* data, std::size_t bytes, double deadline) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    if (!wait_for(socket.get(), POLLIN, deadline)) return false;
    const ssize_t n = recv(socket.get(), at, bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (n > 0) at += n, bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace fm
