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
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <thread>

#include "tensor/error.h"

namespace fm {
namespace {

constexpr double check_every = 0.2;

struct Address {
  sockaddr_storage bytes{};
  socklen_t length = 0;
  int family = AF_UNSPEC;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }
};

struct Resolved {
  int code = 0;                          // result of getaddrinfo
  std::vector<Address> addresses;
};

Resolved ask_name_server(const std::string& host, int port, bool passive) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  Resolved r;
  r.code = getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
  for (const addrinfo* a = found; r.code == 0 && a; a = a->ai_next) {
    Address address;
    std::memcpy(&address.bytes, a->ai_addr, std::min<std::size_t>(a->ai_addrlen, sizeof address.bytes));
    address.length = a->ai_addrlen, address.family = a->ai_family;
    r.addresses.push_back(address);
  }
  if (r.code == 0) freeaddrinfo(found);
  return r;
}

void check(const Patience& p) {
  if (p.check) p.check();
}

// A name server may take half a minute and cannot be interrupted. So a separate thread queries it, and is abandoned if the wait ends early.
Resolved resolve(const std::string& host, int port, const Patience& patience, bool passive = false) {
  auto answer = std::make_shared<std::promise<Resolved>>();
  auto future = answer->get_future();
  std::thread([=] { answer->set_value(ask_name_server(host, port, passive)); }).detach();
  while (future.wait_for(std::chrono::duration<double>(check_every)) != std::future_status::ready) {
    check(patience);
    if (patience.over()) return {EAI_AGAIN, {}};
  }
  return future.get();
}

std::string digits(const Address& address) {
  char text[NI_MAXHOST] = "";
  getnameinfo(address.get(), address.length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  const std::string name = text, mapped = "::ffff:";
  return name.starts_with(mapped) ? name.substr(mapped.size()) : name;
}

bool wait_for(int descriptor, short events, const Patience& patience) {
  for (;;) {
    check(patience);
    const double left = std::min(patience.deadline - steady_seconds(), check_every);
    pollfd p{descriptor, events, 0};
    const int n = poll(&p, 1, std::max(0, static_cast<int>(left * 1000) + 1));
    if (n > 0) return true;
    if ((n < 0 && errno != EINTR) || patience.over()) return false;
  }
}

Socket prepared(int descriptor) {
  const int on = 1;
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return Socket(descriptor);
}

void set_port(Address& address, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (address.family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address.bytes).sin6_port = number;
  else reinterpret_cast<sockaddr_in&>(address.bytes).sin_port = number;
}

// Returns a closed socket, with errno set, on failure. `alone`: an IPv6 socket does not accept IPv4 connections.
Socket try_listen(const Address& address, bool alone) {
  Socket s(socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s.open()) return s;
  const int on = 1;
  setsockopt(s.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family == AF_INET6) {
    const int value = alone;
    setsockopt(s.get(), IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value);
  }
  if (bind(s.get(), address.get(), address.length) == 0 && listen(s.get(), 1024) == 0) return s;
  const int error = errno;
  s = Socket();
  errno = error;
  return Socket();
}

// Returns 0 on success, else an errno.
int try_listen_on_all(std::vector<Address> addresses, int port, std::vector<Socket>& listeners) {
  listeners.clear();
  int first_error = 0;
  for (Address& address : addresses) {
    set_port(address, port);
    Socket s = try_listen(address, addresses.size() > 1);
    // A name may have addresses of other machines, or of protocols that this machine lacks: these are skipped.
    if (!s.open() && errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT) return errno;
    if (!s.open() && first_error == 0) first_error = errno;
    if (!s.open()) continue;
    if (port == 0) port = port_of(s);
    listeners.push_back(std::move(s));
  }
  return listeners.empty() ? first_error : 0;
}

Socket try_connect(const Address& address, const Patience& patience, int* error) {
  const int descriptor = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  *error = errno;
  if (descriptor < 0) return {};
  Socket s = prepared(descriptor);
  if (connect(descriptor, address.get(), address.length) == 0) return s;
  *error = errno;
  if (errno != EINPROGRESS) return {};
  *error = ETIMEDOUT;
  if (!wait_for(descriptor, POLLOUT, patience)) return {};
  socklen_t length = sizeof *error;
  getsockopt(descriptor, SOL_SOCKET, SO_ERROR, error, &length);
  return *error == 0 ? std::move(s) : Socket();
}

// True if the error is permanent, such as a missing network. A port without a listener is not permanent: the listener may still start.
bool stays(int error) { return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EPERM || error == EAFNOSUPPORT || error == EINVAL || error == EADDRNOTAVAIL; }

}  // namespace

double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string seconds_text(double seconds) {
  if (seconds >= 9.95) return std::to_string(static_cast<long>(seconds + 0.5)) + " s";
  const long tenths = static_cast<long>(seconds * 10 + 0.5);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

void pause(double seconds, const Patience& patience) {
  for (const double until = std::min(patience.deadline, steady_seconds() + seconds); steady_seconds() < until;) {
    check(patience);
    std::this_thread::sleep_for(std::chrono::duration<double>(std::clamp(until - steady_seconds(), 0.0, check_every)));
  }
}

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

std::vector<Socket> listen_at(const std::string& host, int port, const Patience& patience) {
  const std::string where = "cannot listen at " + (host.empty() ? "port" : host) + (host.empty() ? " " : ":") + std::to_string(port) + ": ";
  const Resolved r = resolve(host, port, patience, true);
  if (r.code != 0) throw ConfigError(where + "this name is unknown on this machine (" + gai_strerror(r.code) + ")");
  std::vector<Socket> listeners;
  int error = EADDRINUSE;
  // The free port found at the first address may be taken at the next one: then another port is tried.
  for (int tries = 0; error == EADDRINUSE && tries < (port == 0 ? 20 : 1); ++tries) error = try_listen_on_all(r.addresses, port, listeners);
  if (error == 0) return listeners;
  if (error == EADDRNOTAVAIL)
    throw ConfigError(where + digits(r.addresses.front()) + " is no address of this machine: give one that is, or 0.0.0.0 for all of its addresses");
  throw ConfigError(where + std::strerror(error) + (error == EADDRINUSE ? "; choose another port" : ""));
}

int port_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

std::string address_of(const Socket& socket) {
  Address a;
  a.length = sizeof a.bytes;
  getsockname(socket.get(), a.get(), &a.length);
  return digits(a);
}

std::string address_of_peer(const Socket& socket) {
  Address a;
  a.length = sizeof a.bytes;
  getpeername(socket.get(), a.get(), &a.length);
  return digits(a);
}

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

bool means_this_machine_alone(const std::string& host, const Patience& patience) {
  const Resolved r = resolve(host, 1, patience);
  return r.code == 0 && std::all_of(r.addresses.begin(), r.addresses.end(), [](const Address& a) { return is_loopback(digits(a)); });
}

Socket connect_to(const std::string& host, int port, const Patience& patience, std::string* why, bool* hopeless) {
  double nap = 0.02;
  *hopeless = false;
  const double begin = steady_seconds();
  for (;; nap = std::min(1.0, nap * 1.5)) {
    const Resolved r = resolve(host, port, patience);
    if (r.code != 0) *why = "the name " + host + " is unknown on this machine (" + gai_strerror(r.code) + ")";
    bool stuck = true;
    for (const Address& a : r.addresses) {
      int error = 0;
      if (Socket s = try_connect(a, patience.until(steady_seconds() + 5), &error); s.open()) return s;
      stuck = stuck && stays(error);
      *why = std::strerror(error);
    }
    *hopeless = stuck && steady_seconds() - begin >= (r.code == EAI_AGAIN ? 10 : 3);
    if (*hopeless || steady_seconds() + nap > patience.deadline) return {};
    pause(nap, patience);
  }
}

Socket accept_now(const Socket& listener) {
  const int descriptor = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  return descriptor >= 0 ? prepared(descriptor) : Socket();
}

Io send_all(const Socket& socket, const void* data, std::size_t bytes, const Patience& patience) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    if (!wait_for(socket.get(), POLLOUT, patience)) return Io::late;
    const ssize_t n = send(socket.get(), at, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return Io::closed;
    if (n > 0) at += n, bytes -= static_cast<std::size_t>(n);
  }
  return Io::done;
}

Io receive_some(const Socket& socket, std::string& to, std::size_t most) {
  char bytes[16384];
  while (most > 0) {
    const ssize_t n = recv(socket.get(), bytes, std::min(most, sizeof bytes), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return Io::late;
    if (n <= 0) return Io::closed;
    to.append(bytes, static_cast<std::size_t>(n));
    most -= static_cast<std::size_t>(n);
  }
  return Io::done;
}

void wait_for_input(const std::vector<const Socket*>& sockets, double seconds) {
  std::vector<pollfd> wanted;
  for (const Socket* s : sockets) wanted.push_back({s->get(), POLLIN, 0});
  poll(wanted.data(), wanted.size(), std::max(0, static_cast<int>(seconds * 1000) + 1));
}

}  // namespace fm
