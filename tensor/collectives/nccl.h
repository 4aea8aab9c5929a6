// Ranks on GPUs. Tensors of one device use NCCL, on a separate stream; everything else (tensors of the CPU, texts, barriers) uses
// the communicator between CPUs, which also sends NCCL's id to all ranks, exchanges heartbeats and names lost ranks.
//
// The streams are ordered by events and the host waits for none of them. A collective reads the results of all work requested of the compute stream
// before
// `..._start`, and after get() the compute stream continues when the collective is done. get() itself returns at once.
//
// GPUs that wait for a lost rank cannot notice the loss. A thread polls the CPU's communicator and NCCL twenty times a second,
// and aborts NCCL's work when a rank is lost. The streams then continue with undefined tensors, and every later call and get() throws
// RankLostError. So after waiting for the device call check_alive() before the numbers leave the process (a checkpoint).
//
// Sums of f32, f64, i64 and bf16. Their order is NCCL's own: all ranks get the same bits, but not those of ranks on CPUs, nor those of
// another number of ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/collectives/communicator.h"
#include "tensor/device.h"

namespace fm {

struct NcclOptions {
  std::function<std::string()> stop_asked = {};  // the reason to stop, while GPUs find each other; empty: continue
  double start_within = 120;  // seconds until all ranks' GPUs must have found each other
  double done_within = 600;   // seconds for one operation while all ranks are alive: more means that ranks requested different operations
};

// "2.28.9"; empty in a build without NCCL.
std::string nccl_version();

// The 128 bytes by which ranks find each other, on all ranks; rank 0 makes them. Needs no GPU.
std::string share_nccl_id(Communicator& control);

// Takes over `control`; all ranks must call it together. ConfigError, on all ranks, if two of them are on one GPU: it names them.
// DeviceError: the device does not exist, NCCL does not work here, or this build lacks NCCL.
std::unique_ptr<Communicator> open_nccl(std::unique_ptr<Communicator> control, Device device, const NcclOptions& options = {});

}  // namespace fm
