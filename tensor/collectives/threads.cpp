#include "tensor/collectives/threads.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

namespace fm {

class ThreadHub {
 public:
  explicit ThreadHub(int size) : size_(size), dead_(static_cast<std::size_t>(size), false) {}
  int size() const { return size_; }

  void send(int from, int to, const void* data, std::size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    const std::lock_guard lock(mutex_);
    if (!dead(from) && !dead(to)) boxes_[{from, to}].emplace_back(begin, begin + bytes);
    changed_.notify_all();
  }
  // Copies arrived messages; true when all are received.
  bool receive(int to, std::vector<Message>& wanted, double seconds) {
    std::unique_lock lock(mutex_);
    const auto take_all = [&] {
      std::erase_if(wanted, [&](const Message& m) {
        auto& box = boxes_[{m.peer, to}];
        // Messages arrive in order: an earlier one of this peer may still be missing.
        const Message* oldest = nullptr;
        for (const Message& other : wanted)
          if (other.peer == m.peer && !oldest) oldest = &other;
        if (box.empty() || dead(to) || (oldest && oldest->data != m.data)) return false;
        if (box.front().size() != m.bytes) throw Error("ranks disagree about the size of a message: rank " + std::to_string(m.peer) + " sends " + std::to_string(box.front().size()) + " bytes, this rank expects " + std::to_string(m.bytes));
        std::memcpy(m.data, box.front().data(), m.bytes);
        box.pop_front();
        return true;
      });
      return wanted.empty();
    };
    return take_all() || (changed_.wait_for(lock, std::chrono::duration<double>(seconds)), take_all());
  }
  void notify(int from, int to, const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (!dead(from) && !dead(to)) notices_[to].emplace_back(from, text);
    changed_.notify_all();
  }
  std::vector<std::pair<int, std::string>> notices(int rank) {
    const std::lock_guard lock(mutex_);
    return std::exchange(notices_[rank], {});
  }
  void leave(int rank, bool silently) {
    const std::lock_guard lock(mutex_);
    if (dead(rank)) return;
    for (int r = 0; r < size_ && !silently; ++r)
      if (r != rank) notices_[r].emplace_back(rank, "gone");
    dead_[static_cast<std::size_t>(rank)] = true;
    changed_.notify_all();
  }

 private:
  bool dead(int rank) const { return dead_[static_cast<std::size_t>(rank)]; }

  int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> boxes_;
  std::map<int, std::vector<std::pair<int, std::string>>> notices_;
  std::vector<bool> dead_;
};

namespace {

class ThreadChannel : public Channel {
 public:
  ThreadChannel(std::shared_ptr<ThreadHub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}
  ~ThreadChannel() override { hub_->leave(rank_, false); }
  int rank() const override { return rank_; }
  int size() const override { return hub_->size(); }
  void post(const std::vector<Message>& sends, const std::vector<Message>& receives) override {
    for (const Message& m : sends) hub_->send(rank_, m.peer, m.data, m.bytes);
    wanted_.insert(wanted_.end(), receives.begin(), receives.end());
  }
  bool poll(double seconds) override { return hub_->receive(rank_, wanted_, seconds); }
  std::vector<int> waiting_for() const override {
    std::vector<int> peers;
    for (const Message& m : wanted_) peers.push_back(m.peer);
    return peers;
  }
  void notify(int peer, const std::string& text) override { hub_->notify(rank_, peer, text); }
  std::vector<std::pair<int, std::string>> notices() override { return hub_->notices(rank_); }

 private:
  std::shared_ptr<ThreadHub> hub_;
  int rank_;
  std::vector<Message> wanted_;
};

}  // namespace

std::shared_ptr<ThreadHub> make_thread_hub(int size) { return std::make_shared<ThreadHub>(size); }

std::unique_ptr<Channel> open_thread_channel(const std::shared_ptr<ThreadHub>& hub, int rank) {
  return std::make_unique<ThreadChannel>(hub, rank);
}

void kill_rank(ThreadHub& hub, int rank, bool silently) { hub.leave(rank, silently); }

void run_ranks(int size, const std::function<void(Communicator&)>& f) {
  const auto hub = make_thread_hub(size);
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      MessageCommunicator ranks([&] { return open_thread_channel(hub, r); });
      try {
        f(ranks);
        ranks.finish();
      } catch (const std::exception& e) {
        errors[static_cast<std::size_t>(r)] = std::current_exception();
        ranks.abandon(e.what());
      }
    });
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& e : errors)
    if (e) std::rethrow_exception(e);
}

}  // namespace fm
