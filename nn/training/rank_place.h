// This process's place among those that train together, and their communication. The first source that applies counts:
//
//   --rank, --world-size                                          flags, for ranks started by hand
//   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT        torchrun
//   OMPI_COMM_WORLD_RANK, ..._SIZE, ..._LOCAL_RANK; PMI_RANK, ... Open MPI's mpirun; other launchers with PMI
//   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, in a job step      srun
//
// Ranks use MPI if mpirun started them and this build has MPI, else TCP through rank 0's address: --rendezvous, MASTER_ADDR and
// MASTER_PORT, or under Slurm the job's first node and port 15000 + the last four digits of the job's number; with --rendezvous file:FOLDER rank 0
// leaves its address there. Tensors on GPUs use NCCL, with one GPU per rank. Ranks on TCP prove to each other that they have the same
// FLOWMAP_RENDEZVOUS_SECRET, or the secret that rank 0 writes into that folder; without one they prove nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tensor/device.h"

namespace fm {

// The user's options for ranks and devices. Errors name the fields by the programs' flags: --rank, --world-size, --rendezvous, --device.
struct RankOptions {
  std::int64_t rank = -1, world_size = 0;  // given by hand
  std::string rendezvous;                  // HOST:PORT where rank 0 listens, or file:FOLDER
  double rendezvous_timeout = 120;         // seconds until all ranks must have connected
  Device device;
  bool any_gpu = false;                    // "cuda" without a number: of several ranks each takes its own
};

struct RankPlace {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;    // on this machine; size 1 if unknown
  std::string source = "alone";          // the source of the place
  enum class Transport { none, mpi, tcp } transport = Transport::none;
  std::string host, job;                 // of rank 0, for TCP
  int port = 0;
  std::string folder;                    // the folder for rank 0's address, if it is unknown beforehand
  std::string secret;                    // the given secret; empty: none, or with `folder` one that rank 0 makes
  bool from_other_machines = false;      // according to the launcher
  double deadline = 120;                 // seconds until all must have connected
  Device device;                         // this rank's device
  std::string warning;                   // a situation that resembles ranks and is not; may be empty
};

using Environment = std::function<const char*(const char* name)>;       // null: not set

// ConfigError: incomplete settings, invalid or inconsistent numbers, no way to communicate. have_mpi: whether ranks that mpirun started may use MPI.
RankPlace find_ranks(const RankOptions& options, const Environment& environment, bool have_mpi);

// The GPU of this rank: the one that the user named; else the only visible one (a launcher shows each rank its own), else the one with the
// number of its rank on this machine. ConfigError: there are fewer GPUs than ranks, or this build has no NCCL.
Device device_of_rank(const RankPlace& place, const RankOptions& options, int gpus, bool have_nccl);

// "node07" of "node[07-09,12],other": the first of a list of hosts as Slurm writes it.
std::string first_host(const std::string& list);

// "rank 1 of 4 (torchrun), by TCP through node07:29500"; on a GPU ", cuda:1 by NCCL 2.28.9"
std::string describe(const RankPlace& place);

int parse_port(std::string_view text);      // 1 to 65535; 0: invalid

}  // namespace fm
