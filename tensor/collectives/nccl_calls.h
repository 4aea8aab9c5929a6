// Helpers for NCCL: its element types, texts of its errors, groups of calls, and the check that no two ranks share a GPU.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <string>

#include "tensor/collectives/communicator.h"

#if defined(NCCL_VERSION_CODE) && NCCL_VERSION_CODE < 21400
#error NCCL 2.14 or newer is needed, for calls that do not block; -Dnccl=disabled builds without ranks on GPUs
#endif

namespace fm::nccl {

inline bool goes_on(ncclResult_t status) { return status == ncclSuccess || status == ncclInProgress; }

// Returns the name of an error, and NCCL's last message, which is more specific, or else its general text. comm may be null.
std::string reason(ncclResult_t status, ncclComm_t comm);

ncclDataType_t type_of(DType dtype);

// Calls call(rank, piece, elements) for each rank's piece that is not empty, all as one operation.
template <class Call>
ncclResult_t for_each_piece(const Tensor& x, const Communicator::Counts& counts, const Call& call) {
  ncclResult_t status = ncclGroupStart();
  auto* at = static_cast<std::byte*>(x.raw());
  for (std::size_t r = 0; r < counts.size() && goes_on(status); ++r) {
    const auto n = static_cast<std::size_t>(counts[r]);
    if (n > 0) status = call(static_cast<int>(r), at, n);
    at += n * size_of(x.dtype());
  }
  const ncclResult_t ended = ncclGroupEnd();
  return goes_on(status) ? ended : status;
}

// Throws ConfigError on all ranks, and finishes `control`, if two ranks are on the same GPU of a machine. The message names both.
void refuse_shared_gpus(Communicator& control, Device device);

}  // namespace fm::nccl
