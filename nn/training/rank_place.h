// Finds the rank of this process among those that train together, and how they communicate. The first source that applies is used:
//
//   --rank, --world-size                                          flags, for ranks started by hand
//   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT        torchrun
//   OMPI_COMM_WORLD_RANK, ..._SIZE, ..._LOCAL_RANK; PMI_RANK, ... Open MPI's mpirun; other launchers with PMI
//   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, in a job step      srun
//
// Ranks use MPI if mpirun started them, this build has MPI and --rendezvous is not given, else TCP. The address of rank 0 is that of --rendezvous
// HOST:PORT, else MASTER_ADDR and MASTER_PORT, else under Slurm the job's first node with port 15000 + the last four digits of the job's number. With
// --rendezvous file:FOLDER rank 0 writes its address into FOLDER. Tensors on GPUs use NCCL, with one GPU per rank. Over TCP, ranks prove to each other
// that they have the same secret: FLOWMAP_RENDEZVOUS_SECRET, or a random one that rank 0 writes into FOLDER. With neither, any process may join.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tensor/device.h"

namespace fm {

// The user's options for ranks and devices. Errors name the fields by the programs' flags: --rank, --world-size, --rendezvous, --device.
struct RankOptions {
  std::int64_t rank = -1, world_size = 0;  // values of --rank and --world-size; -1 and 0: not given
  std::string rendezvous;                  // HOST:PORT where rank 0 listens, or file:FOLDER
  double rendezvous_timeout = 120;         // time limit for all ranks to connect, in seconds
  Device device;
  bool any_gpu = false;                    // the user gave "cuda" without a number: each rank takes a GPU of its own
};

struct RankPlace {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;    // rank on this machine, and number of ranks there; size 1 if unknown
  std::string source = "alone";          // where rank and size are from: torchrun, Slurm, ...
  enum class Transport { none, mpi, tcp } transport = Transport::none;
  std::string host, job;                 // rank 0's host, and the name of the job, for TCP
  int port = 0;
  std::string folder;                    // FOLDER of --rendezvous file:FOLDER, else empty
  std::string secret;                    // the given secret; empty: none, or, with `folder`, a random one of rank 0
  bool from_other_machines = false;      // ranks may connect from other machines
  double deadline = 120;                 // time limit for all ranks to connect, in seconds
  Device device;                         // this rank's device
  std::string warning;                   // a warning for the user, such as a Slurm job in which this process runs alone; may be empty
};

using Environment = std::function<const char*(const char* name)>;       // null: not set

// Finds this process's place. ConfigError if settings are incomplete, numbers are invalid or inconsistent, or the ranks cannot communicate. have_mpi:
// this build has MPI, so ranks that mpirun started use it.
RankPlace find_ranks(const RankOptions& options, const Environment& environment, bool have_mpi);

// Returns the GPU of this rank: the one that the user named, else the only visible one (a launcher may show each rank only its own), else the one whose
// number is local_rank. ConfigError if the machine has fewer GPUs than ranks, or if this build has no NCCL.
Device device_of_rank(const RankPlace& place, const RankOptions& options, int gpus, bool have_nccl);

// Returns the first host of a list as Slurm writes it: "node07" of "node[07-09,12],other".
std::string first_host(const std::string& list);

// "rank 1 of 4 (torchrun), by TCP through node07:29500"; on a GPU ", cuda:1 by NCCL 2.28.9"
std::string describe(const RankPlace& place);

int parse_port(std::string_view text);      // a port from 1 to 65535; 0 if invalid

}  // namespace fm
