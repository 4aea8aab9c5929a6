#include "tensor/collectives/tcp.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <thread>

#include "tensor/collectives/communicator.h"
#include "tensor/collectives/rendezvous.h"

namespace fm {
namespace {

class TcpChannel : public Channel {
 public:
  explicit TcpChannel(const TcpRendezvous& w) : rank_(w.rank), size_(w.size), peers_(static_cast<std::size_t>(w.size)) {
    auto lines = meet(w);
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
      for (int r = 0; r < size_; ++r) move(peer(r), r);
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
      p.line_closed = receive_some(p.line, p.heard, most_heard) == Io::closed;
      for (std::size_t end; (end = p.heard.find('\n')) != std::string::npos; p.heard.erase(0, end + 1)) out.emplace_back(r, p.heard.substr(0, end));
      if (p.heard.size() >= most_heard) throw RankLostError("rank " + std::to_string(r) + " was lost: it sends a notice of 64 KiB or more");
      if (p.line_closed) out.emplace_back(r, "gone");
    }
    return out;
  }

 private:
  struct Part {
    char* data;
    std::size_t bytes;
    std::uint64_t announced;             // the size, sent before the data: both sides must agree
    std::size_t done;                    // bytes moved so far, of the eight of `announced` and of the data
  };
  struct Peer {
    Socket data, line;
    std::deque<Part> sends, receives;
    std::string said, heard;             // notices: `said` is still to be sent, `heard` is incomplete
    bool data_closed = false, line_closed = false;
  };
  static constexpr std::size_t head = sizeof(std::uint64_t), most_heard = 1 << 16;
  Peer& peer(int r) { return peers_[static_cast<std::size_t>(r)]; }

  bool pending() const {
    return std::any_of(peers_.begin(), peers_.end(), [](const Peer& p) { return !p.sends.empty() || !p.receives.empty(); });
  }

  // Returns the memory of this part that is to be sent or received next.
  static std::pair<char*, std::size_t> rest(Part& p) {
    if (p.done < head) return {reinterpret_cast<char*>(&p.announced) + p.done, head - p.done};
    return {p.data + (p.done - head), p.bytes - (p.done - head)};
  }

  // Moves as much as possible without waiting. notices() reports a closed connection, after the last notices of its rank.
  template <class Call> static void advance(std::deque<Part>& parts, bool& closed, bool receiving, int rank, const Call& io) {
    while (!parts.empty() && !closed) {
      Part& part = parts.front();
      const auto [at, bytes] = rest(part);
      const ssize_t n = io(at, bytes);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) closed = true;
      if (n <= 0) return;
      part.done += static_cast<std::size_t>(n);
      if (receiving && part.done == head && part.announced != part.bytes)
        throw Error("ranks disagree about the size of a message: rank " + std::to_string(rank) + " sends " + std::to_string(part.announced) +
                    " bytes, this rank expects " + std::to_string(part.bytes));
      if (part.done == head + part.bytes) parts.pop_front();
    }
  }
  static void move(Peer& p, int rank) {
    if (!p.data.open()) return;
    const int s = p.data.get();
    advance(p.sends, p.data_closed, false, rank, [s](char* at, std::size_t n) { return send(s, at, n, MSG_NOSIGNAL); });
    advance(p.receives, p.data_closed, true, rank, [s](char* at, std::size_t n) { return recv(s, at, n, 0); });
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
