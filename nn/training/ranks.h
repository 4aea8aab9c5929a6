// Processes that train together: their connection (nn/training/rank_place.h gives their places), and work that one of them does for all.
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

// The facts that must be equal on all ranks before they begin.
struct StartFacts {
  std::string command;                   // "flowmap_train fm"
  std::string build;
  std::string out;                       // the given path
  std::string host, folder;              // the machine, and its path of `out`
  std::string config;                    // TOML
};
// ConfigError, on all ranks and after all have ended well, when one of them was started otherwise than rank 0: it names the first difference.
void check_same_command(Communicator& ranks, const StartFacts& own);

// Events of ranks, and the program's callbacks for them. Functions may be called on other threads.
struct RankLife {
  double lost_after = 15;                                  // seconds of silence after which a rank is lost
  std::function<void(const std::string&)> lost;            // called when a rank is lost and the program does not end by itself; must end it. With the remedy
  std::function<std::string()> stop_asked = {};            // a text that is not empty stops all ranks, wherever they wait
  std::function<void(const std::string&)> stop_heard = {};   // another rank was asked to stop, for this reason
  std::function<void(const std::string&)> warn = {};
  std::function<std::unique_ptr<Channel>(int rank, int size)> open_mpi = {};   // for RankPlace::Transport::mpi
};

// The ranks of a running program. With one rank it does nothing.
class Ranks {
 public:
  Ranks() : ranks_(std::make_unique<SingleRank>()) {}
  // Connects; waits for the others until place.deadline, by TCP. RankStoppedError if life.stop_asked requests it.
  Ranks(const RankPlace& place, const RankLife& life);

  Communicator& operator*() const { return *ranks_; }
  Communicator* operator->() const { return ranks_.get(); }
  bool first() const { return ranks_->rank() == 0; }
  bool alone() const { return ranks_->size() == 1; }

  // Sets the text with the checkpoint to resume from. Called when a rank is lost, from any thread.
  void set_remedy(std::function<std::string()> remedy);
  std::string remedy() const;

  // f on the first rank, while the others wait. Inside of f this is f alone, for they wait already.
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
  std::unique_ptr<Communicator> ranks_;  // last: its thread uses the others
};

}  // namespace fm
