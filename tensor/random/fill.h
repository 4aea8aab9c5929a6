// Family `random`: tensors of random numbers as pure functions of a key. The numbers of a sample depend on its sample number alone, not
// on the batch, rank or thread that computes it.
#pragma once

#include <vector>

#include "tensor/random/philox.h"
#include "tensor/tensor.h"

namespace fm {

using Samples = std::vector<std::int64_t>;                 // global sample numbers, one for each row

// Element i of the row-major result is a function of (key, draw, i). f32 or f64 (the same f32 numbers, widened).
Tensor random_uniform(const Shape& shape, RandomKey key, std::uint32_t draw = 0, DType dtype = DType::f32, Device device = default_device());   // [0, 1)
Tensor random_normal(const Shape& shape, RandomKey key, std::uint32_t draw = 0, DType dtype = DType::f32, Device device = default_device());    // N(0, 1)

// (samples.size(), row...): element j of row r is a function of (key, draw, samples[r], j). Rows have fewer than 2^26 elements.
Tensor random_uniform_rows(const Samples& samples, const Shape& row, RandomKey key, std::uint32_t draw = 0, DType dtype = DType::f32, Device device = default_device());
Tensor random_normal_rows(const Samples& samples, const Shape& row, RandomKey key, std::uint32_t draw = 0, DType dtype = DType::f32, Device device = default_device());

// first, first + 1, ..., first + n - 1
Samples consecutive(std::int64_t first, std::int64_t n);

}  // namespace fm
