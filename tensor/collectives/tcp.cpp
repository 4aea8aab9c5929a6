#include "tensor/collectives/tcp.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <thread>
#include <tuple>

#include "tensor/collectives/communicator.h"
#include "tensor/collectives/socket.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

constexpr std::uint64_t magic = 0x464C4F574D415031;      // "FLOWMAP1"
constexpr std::uint32_t protocol = 1;
enum Purpose : std::uint32_t { join, data_line, notice_line };

// The first thing on every connection.
struct Hello {
  std::uint64_t magic = 0;
  std::uint32_t version = 0, job = 0;
  std::int32_t rank = 0, size = 0;
  std::uint32_t purpose = 0, port = 0;
};

// The answer to `join`: a text (refused), or where the ranks listen.
struct Answer {
  std::uint32_t refused = 0, bytes = 0;
};

std::string place(const TcpRendezvous& w) { return w.port > 0 ? w.host + ":" + std::to_string(w.port) : w.host; }

Hello hello_of(const TcpRendezvous& w, Purpose purpose, int port) {
  return {magic, protocol, crc32c(w.job), w.rank, w.size, purpose, static_cast<std::uint32_t>(port)};
}

void answer(const Socket& s, bool refused, const std::string& text) {
  const Answer a{refused, static_cast<std::uint32_t>(text.size())};
  const double deadline = steady_seconds() + 5;
  if (send_all(s, &a, sizeof a, deadline)) send_all(s, text.data(), text.size(), deadline);
}

// Empty: welcome.
std::string objection(const Hello& h, const TcpRendezvous& w, bool there_already) {
  if (h.version != protocol) return "rank 0 is of another version of this program (protocol " + std::to_string(protocol) + ")";
  if (h.job != crc32c(w.job)) return "rank 0 at " + place(w) + " belongs to another job";
  if (h.size != w.size) return "rank 0 expects " + std::to_string(w.size) + " ranks, this one " + std::to_string(h.size);
  if (h.rank <= 0 || h.rank >= w.size) return "rank " + std::to_string(h.rank) + " is not below " + std::to_string(w.size);
  if (there_already) return "rank " + std::to_string(h.rank) + " is there already: two processes were started with the same rank";
  return "";
}

std::string list_of(const std::vector<int>& ranks) {
  std::string text;
  for (int r : ranks) text += (text.empty() ? "" : ", ") + std::to_string(r);
  return (ranks.size() == 1 ? "rank " : "ranks ") + text;
}

struct Place {
  std::string host;
  int port = 0;
};
using Places = std::vector<Place>;       // of all ranks; that of rank 0 is as each rank knows it

std::string to_text(const Places& places) {
  std::string text;
  for (const Place& p : places) text += p.host + " " + std::to_string(p.port) + "\n";
  return text;
}

Places from_text(const std::string& text, const TcpRendezvous& w) {
  Places places;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at), space = text.find(' ', at);
    places.push_back({text.substr(at, space - at), std::stoi(text.substr(space + 1, end - space - 1))});
    at = end + 1;
  }
  places[0] = {w.host, w.port};
  return places;
}

bool hear_hello(const Socket& s, Hello& h, double deadline) {
  return receive_all(s, &h, sizeof h, std::min(deadline, steady_seconds() + 5)) && h.magic == magic;
}

// Rank 0: waits for all and tells them where all are.
void gather_ranks(const TcpRendezvous& w, const Socket& listener, double deadline) {
  std::map<int, Socket> there;
  Places places(static_cast<std::size_t>(w.size));
  places[0] = {"-", w.port};
  while (static_cast<int>(there.size()) < w.size - 1) {
    Socket s = accept_from(listener, deadline);
    Hello h;
    if (!s.open()) {
      std::vector<int> missing;
      for (int r = 1; r < w.size; ++r)
        if (!there.contains(r)) missing.push_back(r);
      const std::string text =
          list_of(missing) + " of " + std::to_string(w.size) + " did not come to " + place(w) + " within " + std::to_string(static_cast<int>(w.deadline)) + " s";
      for (const auto& [rank, socket] : there) answer(socket, true, text);
      throw ConfigError(text);
    }
    if (!hear_hello(s, h, deadline) || h.purpose != join) continue;                // a stranger
    const std::string why = objection(h, w, there.contains(h.rank));
    if (!why.empty()) {
      answer(s, true, why);
      continue;
    }
    places[static_cast<std::size_t>(h.rank)] = {address_of_peer(s), static_cast<int>(h.port)};
    there.emplace(h.rank, std::move(s));
  }
  for (const auto& [rank, socket] : there) answer(socket, false, to_text(places));
}

// An address that was found may be that of a job that ended, until rank 0 of this one says where it is.
Socket reach_rank_0(TcpRendezvous& w, double deadline) {
  if (!w.find) return connect_to(w.host, w.port, deadline);
  std::string why;
  for (Socket s; steady_seconds() < deadline; std::this_thread::sleep_for(std::chrono::milliseconds(why.empty() ? 50 : 500))) {
    const auto found = w.find();
    if (found.first.empty()) continue;
    std::tie(w.host, w.port) = found;
    try {
      s = connect_to(w.host, w.port, std::min(deadline, steady_seconds() + 2));
      why.clear();
    } catch (const ConfigError& e) {     // a machine that is no more, or that this one does not know by name
      why = e.what();
    }
    if (s.open()) return s;
  }
  if (!why.empty()) throw ConfigError("rank " + std::to_string(w.rank) + ": " + why);
  return {};
}

Places ask_rank_0(TcpRendezvous& w, int own_port, double deadline) {
  const Socket s = reach_rank_0(w, deadline);
  const auto lost = [&](const std::string& what) {
    return ConfigError("rank " + std::to_string(w.rank) + ": rank 0 at " + place(w) + " " + what + " within " +
                       std::to_string(static_cast<int>(w.deadline)) + " s");
  };
  if (!s.open()) throw lost("could not be reached");
  const Hello h = hello_of(w, join, own_port);
  Answer a;
  // Rank 0's own deadline began at another time: it names who is missing, so it may speak first.
  if (!send_all(s, &h, sizeof h, deadline) || !receive_all(s, &a, sizeof a, deadline + 10)) throw lost("did not answer");
  std::string text(a.bytes, ' ');
  if (!receive_all(s, text.data(), text.size(), deadline + 10)) throw lost("did not answer");
  if (a.refused) throw ConfigError("rank " + std::to_string(w.rank) + ": " + text);
  return from_text(text, w);
}

struct Lines {
  Socket data, notices;
};

// Higher ranks connect to lower ones.
std::vector<Lines> connect_all(const TcpRendezvous& w, const Socket& listener, const Places& places, double deadline) {
  std::vector<Lines> lines(static_cast<std::size_t>(w.size));
  const auto slot = [&](int rank, std::uint32_t purpose) -> Socket& {
    Lines& l = lines[static_cast<std::size_t>(rank)];
    return purpose == data_line ? l.data : l.notices;
  };
  for (int r = 0; r < w.rank; ++r)
    for (Purpose purpose : {data_line, notice_line}) {
      const Place& p = places[static_cast<std::size_t>(r)];
      Socket s = connect_to(p.host, p.port, deadline);
      const Hello h = hello_of(w, purpose, 0);
      if (!s.open() || !send_all(s, &h, sizeof h, deadline))
        throw ConfigError("rank " + std::to_string(w.rank) + " cannot reach rank " + std::to_string(r) + " at " + p.host + ":" + std::to_string(p.port));
      slot(r, purpose) = std::move(s);
    }
  for (int left = 2 * (w.size - 1 - w.rank); left > 0;) {
    Socket s = accept_from(listener, deadline);
    Hello h;
    if (!s.open()) {
      std::vector<int> missing;
      for (int r = w.rank + 1; r < w.size; ++r)
        if (!slot(r, data_line).open() || !slot(r, notice_line).open()) missing.push_back(r);
      throw ConfigError("rank " + std::to_string(w.rank) + ": " + list_of(missing) + " did not connect in time");
    }
    if (!hear_hello(s, h, deadline)) continue;
    if (h.purpose == join) {             // late: everybody is there
      answer(s, true, objection(h, w, true));
      continue;
    }
    if (h.job != crc32c(w.job) || h.rank <= w.rank || h.rank >= w.size || slot(h.rank, h.purpose).open()) continue;
    slot(h.rank, h.purpose) = std::move(s);
    --left;
  }
  return lines;
}

class TcpChannel : public Channel {
 public:
  explicit TcpChannel(TcpRendezvous w) : rank_(w.rank), size_(w.size), peers_(static_cast<std::size_t>(w.size)) {
    const double deadline = steady_seconds() + w.deadline;
    const Socket listener = listen_on(w.rank == 0 ? w.port : 0);
    if (w.rank == 0 && w.listening) w.listening(w.port = port_of(listener));
    Places places;
    if (w.rank == 0) gather_ranks(w, listener, deadline);
    else places = ask_rank_0(w, port_of(listener), deadline);
    auto lines = connect_all(w, listener, places, deadline + 10);
    for (std::size_t r = 0; r < peers_.size(); ++r) peers_[r].data = std::move(lines[r].data), peers_[r].line = std::move(lines[r].notices);
  }
  ~TcpChannel() override {
    for (const double until = steady_seconds() + 1; steady_seconds() < until;) {
      bool left = false;
      for (Peer& p : peers_) flush(p), left = left || (!p.said.empty() && !p.line_closed);
      if (!left) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    notices();                           // unread bytes would turn the end of the connection into a reset
    for (Peer& p : peers_)
      if (p.line.open()) shutdown(p.line.get(), SHUT_WR);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void post(const std::vector<Message>& sends, const std::vector<Message>& receives) override {
    for (const Message& m : sends) peer(m.peer).sends.push_back({static_cast<char*>(m.data), m.bytes, m.bytes, 0});
    for (const Message& m : receives) peer(m.peer).receives.push_back({static_cast<char*>(m.data), m.bytes, 0, 0});
  }

  bool poll(double seconds) override {
    const double until = steady_seconds() + seconds;
    for (;;) {
      for (Peer& p : peers_) move(p);
      if (!pending()) return true;
      const double left = until - steady_seconds();
      if (left <= 0) return false;
      std::vector<pollfd> wanted;
      for (const Peer& p : peers_) {
        const short events = static_cast<short>((p.receives.empty() ? 0 : POLLIN) | (p.sends.empty() ? 0 : POLLOUT));
        if (events && !p.data_closed) wanted.push_back({p.data.get(), events, 0});
      }
      ::poll(wanted.data(), wanted.size(), std::max(1, static_cast<int>(left * 1000)));
    }
  }
  std::vector<int> waiting_for() const override {
    std::vector<int> out;
    for (int r = 0; r < size_; ++r)
      if (!peers_[static_cast<std::size_t>(r)].receives.empty()) out.push_back(r);
    return out;
  }

  void notify(int r, const std::string& text) override {
    Peer& p = peer(r);
    std::string line = text;
    std::replace(line.begin(), line.end(), '\n', ' ');
    if (p.said.size() < 1 << 16) p.said += line + "\n";
    flush(p);
  }
  std::vector<std::pair<int, std::string>> notices() override {
    std::vector<std::pair<int, std::string>> out;
    for (int r = 0; r < size_; ++r) {
      Peer& p = peer(r);
      if (!p.line.open() || p.line_closed) continue;
      flush(p);
      char bytes[4096];
      ssize_t n;
      while ((n = recv(p.line.get(), bytes, sizeof bytes, 0)) > 0) p.heard.append(bytes, static_cast<std::size_t>(n));
      p.line_closed = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
      for (std::size_t end; (end = p.heard.find('\n')) != std::string::npos; p.heard.erase(0, end + 1)) out.emplace_back(r, p.heard.substr(0, end));
      if (p.line_closed) out.emplace_back(r, "gone");
    }
    return out;
  }

 private:
  struct Part {
    char* data;
    std::size_t bytes;
    std::uint64_t announced;             // goes first on the line: both sides must agree
    std::size_t done;                    // of the eight bytes of `announced` and of the data
  };
  struct Peer {
    Socket data, line;
    std::deque<Part> sends, receives;
    std::string said, heard;             // notices on their way
    bool data_closed = false, line_closed = false;
  };
  static constexpr std::size_t head = sizeof(std::uint64_t);
  Peer& peer(int r) { return peers_[static_cast<std::size_t>(r)]; }

  bool pending() const {
    return std::any_of(peers_.begin(), peers_.end(), [](const Peer& p) { return !p.sends.empty() || !p.receives.empty(); });
  }

  // The next piece of memory of this part.
  static std::pair<char*, std::size_t> rest(Part& p) {
    if (p.done < head) return {reinterpret_cast<char*>(&p.announced) + p.done, head - p.done};
    return {p.data + (p.done - head), p.bytes - (p.done - head)};
  }

  // As much as goes without waiting. A closed line is told by notices(), after the last words of its rank.
  template <class Io> static void advance(std::deque<Part>& parts, bool& closed, bool receiving, const Io& io) {
    while (!parts.empty() && !closed) {
      Part& part = parts.front();
      const auto [at, bytes] = rest(part);
      const ssize_t n = io(at, bytes);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) closed = true;
      if (n <= 0) return;
      part.done += static_cast<std::size_t>(n);
      if (receiving && part.done == head && part.announced != part.bytes) throw Error("ranks disagree about the size of a message");
      if (part.done == head + part.bytes) parts.pop_front();
    }
  }
  static void move(Peer& p) {
    if (!p.data.open()) return;
    const int s = p.data.get();
    advance(p.sends, p.data_closed, false, [s](char* at, std::size_t n) { return send(s, at, n, MSG_NOSIGNAL); });
    advance(p.receives, p.data_closed, true, [s](char* at, std::size_t n) { return recv(s, at, n, 0); });
  }
  static void flush(Peer& p) {
    if (!p.line.open() || p.said.empty()) return;
    const ssize_t n = send(p.line.get(), p.said.data(), p.said.size(), MSG_NOSIGNAL);
    if (n > 0) p.said.erase(0, static_cast<std::size_t>(n));
    else if (n < 0 && errno != EAGAIN && errno != EINTR) p.said.clear();
  }

  int rank_, size_;
  std::vector<Peer> peers_;
};

}  // namespace

std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where) { return std::make_unique<TcpChannel>(where); }

}  // namespace fm
