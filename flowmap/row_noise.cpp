#include "flowmap/row_noise.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "tensor/narrow.h"

namespace fm {
namespace {

// A number for each row, made of the bits of its first two values in f32. Two different rows of normal numbers are unlikely to share a number.
Samples names_of_rows(const Tensor& noise) {
  const std::int64_t rows = noise.dim(0);
  const Tensor flat = noise.reshape({rows, noise.numel() / rows});
  const std::vector<float> first = flat.slice(1, 0, std::min<std::int64_t>(2, flat.dim(1))).to(DType::f32).to(Device{}).to_vector<float>();
  const std::size_t each = first.size() / static_cast<std::size_t>(rows);
  Samples out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    std::uint64_t bits = 0;
    for (std::size_t j = 0; j < each; ++j) bits = bits << 31 ^ std::bit_cast<std::uint32_t>(first[i * each + j]);
    out.push_back(static_cast<std::int64_t>(bits & 0x7FFFFFFFFFFFFFFFu));
  }
  return out;
}

}  // namespace

RowNoise::RowNoise(const Tensor& noise) : row_(noise.shape().without(0)), dtype_(noise.dtype()), device_(noise.device()), names_(names_of_rows(noise)) {}

Tensor RowNoise::at(std::int64_t step) const {
  return Draws{0, narrow<std::uint32_t>(step, "step"), names_}.normal(row_, dtype_, Purpose::renoise).to(device_);
}

Tensor RowNoise::beside(const Shape& row) const {
  constexpr std::uint32_t no_step = ~std::uint32_t{0};
  return Draws{0, no_step, names_}.normal(row, dtype_, Purpose::renoise).to(device_);
}

}  // namespace fm
