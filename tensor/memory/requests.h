// How often the allocator of tensors (allocator.h) found no kept block. Each such request goes to the system, or to the GPU's driver, and costs page
// faults or a wait. Steady training steps make none.
#pragma once

#include <cstdint>

#include "tensor/device.h"

namespace fm {

// Requests since the program began.
std::int64_t memory_requests(Device device = default_device());

}  // namespace fm
