// Memory by operation. The tape itself prints by Tape::to_string().
#pragma once

#include <cstddef>
#include <string>

namespace fm {

std::string human_bytes(std::size_t bytes);        // "512 B", "1.5 KiB", "3.2 GiB"

// One line for each operation whose results are alive (most bytes first) with its bytes and share, then the total and the peak:
//       1.2 MiB   61.3 %  linear
// Taken between the forward and the backward pass it shows the tape's memory by operation.
std::string memory_table();

}  // namespace fm
