// Ranks on GPUs. Tensors on the rank's GPU use NCCL, on a separate stream. Tensors on the CPU, texts and barriers use the communicator between
// CPUs (`control`), which also sends NCCL's id to all ranks, exchanges heartbeats and names lost ranks.
//
// Events order the streams, so the host waits for none of them. A collective runs after all work that was requested of the compute stream before
// `..._start`. Work that is requested of the compute stream after get() runs when the collective is done. get() itself returns at once.
//
// GPUs that wait for a lost rank cannot notice the loss. A thread polls the CPU's communicator and NCCL twenty times a second,
// and aborts NCCL's work when a rank is lost. The streams then continue with undefined tensors, and every later call and get() throws
// RankLostError. So call check_alive() after waiting for the device and before results leave the process (in a checkpoint, say).
//
// Sums of f32, f64, i64 and bf16 are added in NCCL's own order. All ranks get the same bits. Ranks on CPUs, or another number of ranks, get
// other bits.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/collectives/communicator.h"
#include "tensor/device.h"

namespace fm {

struct NcclOptions {
  std::function<std::string()> stop_asked = {};  // called while GPUs find each other; returns a reason to stop, or ""
  double start_within = 120;  // seconds until all ranks' GPUs must have found each other
  double done_within = 600;   // seconds for one operation while all ranks are alive: more means that ranks requested different operations
};

// Returns, for example, "2.28.9"; empty in a build without NCCL.
std::string nccl_version();

// Returns the 128 bytes by which ranks find each other, the same on all ranks; rank 0 makes them. Needs no GPU.
std::string share_nccl_id(Communicator& control);

// Takes over `control`; all ranks must call it together. ConfigError, on all ranks, if two ranks are on one GPU; it names both.
// DeviceError if the device does not exist, NCCL does not work here, or this build lacks NCCL.
std::unique_ptr<Communicator> open_nccl(std::unique_ptr<Communicator> control, Device device, const NcclOptions& options = {});

}  // namespace fm
