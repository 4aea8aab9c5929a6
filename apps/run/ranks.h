// Who this process is among those that train together, and how they talk. The first that says so counts:
//
//   --rank, --world-size                                          flags, for ranks started by hand
//   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT        torchrun
//   OMPI_COMM_WORLD_RANK, ..._SIZE, ..._LOCAL_RANK; PMI_RANK, ... Open MPI's mpirun; other launchers with PMI
//   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, in a job step      srun
//
// Ranks talk by MPI where mpirun started them and this build has MPI, else by TCP through rank 0's address: --rendezvous, MASTER_ADDR and
// MASTER_PORT, or under Slurm the job's first node and port 15000 + the last four digits of the job's number; with --rendezvous file:FOLDER rank 0
// leaves its address there. Tensors on GPUs go by NCCL, with one GPU a rank. Ranks that talk by TCP prove to each other that they have the same
// FLOWMAP_RENDEZVOUS_SECRET, or the one that rank 0 draws into that folder; without one they prove nothing.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "apps/cli/program.h"
#include "tensor/collectives/communicator.h"

namespace fm {

struct RankPlace {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;    // on this machine; size 1 where the launcher does not say
  std::string source = "alone";          // who said so
  enum class Transport { none, mpi, tcp } transport = Transport::none;
  std::string host, job;                 // of rank 0, for TCP
  int port = 0;
  std::string folder;                    // where rank 0 leaves its address, when nobody knows it before
  std::string secret;                    // that was given; empty: none, or with `folder` one that rank 0 draws
  bool from_other_machines = false;      // the launcher says that there are some
  double deadline = 120;                 // seconds until all must have come
  Device device;                         // that this rank computes on
  std::string warning;                   // what looks like ranks and is not; may be empty
};

using Environment = std::function<const char*(const char* name)>;       // null: not set

// ConfigError: half of what is needed is there, numbers that are none or do not fit, no way to talk.
RankPlace find_ranks(const Launch& launch, const Environment& environment, bool have_mpi);
bool built_with_mpi();

// The GPU of this rank: the one that the user named; else the only one that it sees (a launcher gives each rank its own), else the one with the
// number of its rank on this machine. ConfigError: there are fewer GPUs than ranks, or this build has no NCCL.
Device device_of_rank(const RankPlace& place, const Launch& launch, int gpus, bool have_nccl);

// "node07" of "node[07-09,12],other": the first of a list of hosts as Slurm writes it.
std::string first_host(const std::string& list);

// "rank 1 of 4 (torchrun), by TCP through node07:29500"; on a GPU ", cuda:1 by NCCL 2.28.9"
std::string describe(const RankPlace& place);

// What must be alike on all ranks before they begin.
struct StartFacts {
  std::string command;                   // "flowmap_train fm"
  std::string build;
  std::string out;                       // as it was given
  std::string host, folder;              // the machine, and what `out` is there
  std::string config;                    // TOML
};
// ConfigError, on all ranks and after all have ended well, when one of them was started otherwise than rank 0: it names the first difference.
void check_same_command(Communicator& ranks, const StartFacts& own);

// The ranks of a program while it runs. Alone, all of it does nothing.
class Ranks {
 public:
  Ranks() : ranks_(std::make_unique<SingleRank>()) {}
  // Connects; waits for the others until place.deadline, by TCP. A request to stop (signals.h) ends that by RankStoppedError, and later on reaches
  // all ranks wherever they wait. When a rank is lost and the program does not end by itself, it is ended with exit_code::rank_lost and a line
  // on stderr. `warn` is called on another thread.
  Ranks(const RankPlace& place, double lost_after, const std::string& program, std::function<void(const std::string&)> warn = {});

  Communicator& operator*() const { return *ranks_; }
  Communicator* operator->() const { return ranks_.get(); }
  bool first() const { return ranks_->rank() == 0; }
  bool alone() const { return ranks_->size() == 1; }

  // What resumes from where, when a rank is lost: asked then, from any thread.
  void set_remedy(std::function<std::string()> remedy);
  std::string remedy() const;

  // f on the first rank, while the others wait. Inside of f this is f alone, for they wait already.
  template <class F> void only_first(const F& f) const {
    if (others_wait_) return f();
    if (first()) {
      others_wait_ = true;
      f();                               // where it throws the program ends
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
