// Sharding of the optimizer's state (ZeRO-1; Rajbhandari et al. 2020): one rank owns each parameter. The owner keeps the parameter's moments and
// averages, updates the parameter, and sends the new weights to the other ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/collectives/communicator.h"
#include "tensor/tensor.h"

namespace fm {

// Returns the owners of tensors of these sizes. In the order of falling size, each tensor goes to the rank that has the fewest elements so far.
std::vector<int> balanced_owners(const std::vector<std::int64_t>& sizes, int ranks);

// Sets each tensor on all ranks to its owner's values. Tensors must be contiguous. Consecutive tensors of the same type share a message.
void share_from_owners(Communicator& ranks, const std::vector<Tensor>& tensors, const std::vector<int>& owners);

}  // namespace fm
