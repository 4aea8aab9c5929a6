// The owners of parameters when the optimizer's state is in parts (ZeRO-1; Rajbhandari et al. 2020): each parameter has one owner, who keeps
// its moments and averages, updates it, and sends the new weights to the others.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/collectives/communicator.h"
#include "tensor/tensor.h"

namespace fm {

// An owner for each of these sizes: the largest first, each to the rank that has least.
std::vector<int> balanced_owners(const std::vector<std::int64_t>& sizes, int ranks);

// Each tensor gets its owner's values on all ranks. Contiguous; neighbors of one type are sent together.
void share_from_owners(Communicator& ranks, const std::vector<Tensor>& tensors, const std::vector<int>& owners);

}  // namespace fm
