// Positions of tokens: fixed tables for a grid, row-major (token n = row * columns + column), or for a sequence.
#pragma once

#include <utility>

#include "tensor/tensor.h"

namespace fm {

// The 2-D sine-cosine embedding of MAE, (rows * columns, width), f32. With q = width/4 and omega_k = 10000^(-k/q), token (i, j) has
//   [ sin(j omega) | cos(j omega) | sin(i omega) | cos(i omega) ]:  the first half encodes the column. width must be a multiple of 4.
Tensor sin_cos_positions(std::int64_t rows, std::int64_t columns, std::int64_t width);

// Rotary tables (cos, sin), each (rows * columns, head_width), f32. Channels 2m and 2m+1 share an angle: row * f_m in the first half of the
// channels, column * f_m in the second half, with f_m = 10000^(-2m / (head_width/2)). head_width must be a multiple of 4.
std::pair<Tensor, Tensor> rope_tables(std::int64_t rows, std::int64_t columns, std::int64_t head_width);

// Tables for a sequence, which has one axis; n is the number of the token. Widths must be even.
// Sine-cosine (length, width), as in Vaswani et al. 2017 with the sines first: q = width/2, omega_k = 10000^(-k/q), [ sin(n omega) | cos(n omega) ].
Tensor sin_cos_positions(std::int64_t length, std::int64_t width);
// Rotary (RoFormer, Su et al. 2021): channels (2m, 2m+1) have the angle n * 10000^(-2m / head_width).
std::pair<Tensor, Tensor> rope_tables(std::int64_t length, std::int64_t head_width);

}  // namespace fm
