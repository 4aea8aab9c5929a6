// The arithmetic of collectives by messages: a tensor's pieces, and their sums.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/collectives/communicator.h"

namespace fm {

struct Piece {
  std::byte* data;
  std::size_t bytes;
};

// Returns the memory of each rank's piece of a contiguous tensor.
std::vector<Piece> pieces_of(const Tensor& x, const Communicator::Counts& counts);

// out[i] = sum over ranks of parts[r][i], in the order of the ranks; f32 in double, rounded once. f32, f64 and i64; out may be one of the parts.
void add_parts(DType dtype, const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t n);

}  // namespace fm
