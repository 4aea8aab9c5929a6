// Ranks on GPUs. Tensors of one device go by NCCL, on a stream of its own; everything else (tensors of the CPU, texts, barriers) goes on by
// the communicator between CPUs, which also carries NCCL's id to all ranks, tells who is alive and names who was lost.
//
// The streams are ordered by events and the host waits for none of them: what a collective reads is what was asked of the compute stream
// before
// `..._start`, and after get() the compute stream goes on when the collective is done. get() itself returns at once.
//
// A rank that is lost cannot be noticed by the GPUs that wait for it. A thread asks the CPU's communicator and NCCL twenty times a second,
// and ends NCCL's work when a rank is lost: the streams go on, with what tensors hold then, and every later call and get() throws
// RankLostError. So whoever has waited for the device asks check_alive() before the numbers leave the process (a checkpoint).
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
  std::function<std::string()> stop_asked = {};  // why to stop, while GPUs find each other; empty: go on
  double start_within = 120;  // seconds until all ranks' GPUs must have found each other
  double done_within = 600;   // seconds for one operation while all ranks are alive: more means that they ask for different ones
};

// "2.28.9"; empty in a build without NCCL.
std::string nccl_version();

// The 128 bytes by which ranks find each other, on all of them; rank 0 makes them. Needs no GPU.
std::string share_nccl_id(Communicator& control);

// Takes over `control`, which all ranks must do together. ConfigError, on all ranks, when two of them are on one GPU: it names them.
// DeviceError: there is no such device, NCCL does not work here, this build has none.
std::unique_ptr<Communicator> open_nccl(std::unique_ptr<Communicator> control, Device device, const NcclOptions& options = {});

}  // namespace fm
