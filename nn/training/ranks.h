// Processes that train together: connects them (nn/training/rank_place.h gives their ranks), and runs work that one of them does for all.
//
//   Ranks alone;                                             // one process
//   Ranks ranks(find_ranks({}, std::getenv, false), life);   // one of the processes that a launcher started
//   ranks.only_first([&] { save(); });
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "nn/training/rank_place.h"
#include "tensor/collectives/channel.h"
#include "tensor/collectives/communicator.h"

namespace fm {

// Facts that must be equal on all ranks (except host, and folder on different hosts).
struct StartFacts {
  std::string command;                   // "flowmap_train fm"
  std::string build;
  std::string out;                       // value of --out
  std::string host, folder;              // name of the machine, and absolute path of `out` on it
  std::string config;                    // TOML
};
// ConfigError on all ranks if the facts of one of them differ from those of rank 0. It names the first difference. The communication has then ended
// on all ranks, so that none reports another one as lost.
void check_same_command(Communicator& ranks, const StartFacts& own);

// The program's callbacks for events of ranks. They may be called on other threads.
struct RankLife {
  double lost_after = 15;                                  // seconds of silence after which a rank is lost
  std::function<void(const std::string&)> lost;            // must end the program, if it has not ended itself after a rank was lost. Argument: reason and remedy
  std::function<std::string()> stop_asked = {};            // returns the reason to stop all ranks, even while they wait; empty: continue
  std::function<void(const std::string&)> stop_heard = {};   // another rank was asked to stop, for this reason
  std::function<void(const std::string&)> warn = {};
  std::function<std::unique_ptr<Channel>(int rank, int size)> open_mpi = {};   // opens the channel for Transport::mpi
};

// The ranks of a running program. With one rank nothing is connected.
class Ranks {
 public:
  Ranks() : ranks_(std::make_unique<SingleRank>()) {}
  // Connects to the other ranks. Over TCP it waits for them at most place.deadline seconds. RankStoppedError if life.stop_asked requests a stop.
  Ranks(const RankPlace& place, const RankLife& life);

  Communicator& operator*() const { return *ranks_; }
  Communicator* operator->() const { return ranks_.get(); }
  bool first() const { return ranks_->rank() == 0; }
  bool alone() const { return ranks_->size() == 1; }

  // Sets the function that returns the remedy after a rank is lost: the checkpoint to resume from. It may be called on any thread.
  void set_remedy(std::function<std::string()> remedy);
  std::string remedy() const;

  // Calls f on the first rank, while the others wait. A nested call inside f only calls its function, because the others wait already.
  template <class F> void only_first(const F& f) const {
    if (others_wait_) return f();
    if (first()) {
      others_wait_ = true;
      f();                               // an exception here ends the program
      others_wait_ = false;
    }
    ranks_->barrier();
  }

 private:
  mutable bool others_wait_ = false;
  mutable std::mutex mutex_;
  std::function<std::string()> remedy_;
  std::unique_ptr<Communicator> ranks_;  // the last member: its thread uses the others
};

}  // namespace fm
