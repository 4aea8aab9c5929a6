// Collectives by messages, on a separate thread: the caller computes while data move. The same thread sends heartbeats to the other ranks and
// checks theirs, so that a lost rank ends the work of all instead of blocking them.
//
//   sum        rank r adds piece r of all ranks, then sends the result to all ranks. So each rank sends 2 (N-1)/N of the data.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "tensor/collectives/channel.h"
#include "tensor/collectives/communicator.h"

namespace fm {

struct WatchOptions {
  double lost_after = 15;                         // seconds of silence after which a rank counts as lost
  double beat_every = 1;                          // seconds between heartbeats
  // Seconds that the caller has, after the loss of a rank, to notice it (get() throws) and end. If they pass, on_lost is called on the
  // communicator's own thread.
  double grace = 10;
  std::function<void(const std::string& what)> on_lost = {};
  // Returns the reason for this rank to stop, or "". The other ranks' stop_heard is called with this reason within a quarter of a second, even
  // while this rank waits.
  std::function<std::string()> stop_asked = {};
  std::function<void(const std::string& why)> stop_heard = {};
  // For tests: the clock of all times above, in seconds, and the real seconds between two polls of the thread (0: a quarter of beat_every).
  std::function<double()> clock = {};
  double look_every = 0;
};

class MessageCommunicator : public Communicator {
 public:
  using Open = std::function<std::unique_ptr<Channel>()>;
  // `open` is called on the thread that will use the channel; the constructor rethrows its exceptions.
  explicit MessageCommunicator(Open open, WatchOptions watch = {});
  ~MessageCommunicator() override;                // without finish() the others report this rank as lost

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Work all_reduce_start(const Tensor& x) override;
  Work reduce_scatter_start(const Tensor& x, const Counts& counts) override;
  Work all_gather_start(const Tensor& x, const Counts& counts) override;
  Work broadcast_start(const Tensor& x, int root) override;
  Work send_start(const Tensor& x, int to) override;
  Work receive_start(const Tensor& x, int from) override;
  void check_alive() const override;
  void observe(std::function<void(const Span&)> observer) override;
  void finish() override;
  using Communicator::abandon;
  void abandon(const std::string& why, Ending ending) override;

 private:
  struct Job {
    std::function<void()> run;
    std::promise<void> done;
    const char* op = "";
    std::size_t bytes = 0;
  };
  struct Peer {
    double heard = 0;                             // seconds on the steady clock
    bool ended = false;                           // has announced its end
  };
  Work start(const char* op, std::size_t bytes, std::function<void()> run);
  void serve(const Open& open, std::promise<void>& opened);
  void run_job(Job& job);
  void tend();
  void hear(int peer, const std::string& text);
  void tell_all(const std::string& text);
  void tell_of_stop();
  void exchange(const std::vector<Message>& sends, const std::vector<Message>& receives);
  void reduce_pieces(const Tensor& x, const Counts& counts);
  void gather_pieces(const Tensor& x, const Counts& counts);
  void say_goodbye();
  void stop();
  void watch_grace();

  WatchOptions watch_;
  std::unique_ptr<Channel> channel_;
  int rank_ = 0, size_ = 1;
  std::vector<Peer> peers_;
  double last_beat_ = 0, lost_at_ = 0;
  bool said_goodbye_ = false, stop_told_ = false, others_stopped_ = false;
  std::exception_ptr lost_;                       // if set, every operation throws it; written with mutex_ locked
  std::string lost_text_;
  std::vector<std::byte> received_;               // the other ranks' parts of a sum
  std::vector<std::function<void()>> unfinished_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::function<void(const Span&)> observer_;
  bool stopping_ = false, ended_ = false;
  std::string farewell_;
  Ending ending_ = Ending::failed;
  std::thread thread_;
};

}  // namespace fm
