// Memory by operation. (Tape::to_string() prints the tape itself.)
#pragma once

#include <cstddef>
#include <string>

namespace fm {

std::string human_bytes(std::size_t bytes);        // "512 B", "1.5 KiB", "3.2 GiB"

// Returns one line for each operation whose results are alive, most bytes first, with its bytes and share. The last line has the total and the peak.
//       1.2 MiB   61.3 %  linear
// Called between the forward and the backward pass, it shows the tape's memory.
std::string memory_table();

}  // namespace fm
