// NCCL's own types, its errors, groups of calls, and the search of ranks for each other.
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

// The name of an error and NCCL's last message, if any, which is more specific. comm: may be null.
std::string reason(ncclResult_t status, ncclComm_t comm);

ncclDataType_t type_of(DType dtype);

// call(rank, piece, elements) for each rank's piece, all as one operation.
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

// ConfigError, on all ranks, where two of them are on one GPU of one machine: it names both. Ends `control` then.
void refuse_shared_gpus(Communicator& control, Device device);

}  // namespace fm::nccl
