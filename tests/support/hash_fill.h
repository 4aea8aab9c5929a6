// Weights and images for golden tests of published feature networks: functions of a key and an index alone, the same bits in any language.
//
// z(key, i): name_hash(key) + (i + 1) 0x9E3779B97F4A7C15, mixed as in SplitMix64 (Steele, Lea, Flood 2014). u = the upper 24 bits of z as a number in
// [0, 1), v = 2u - 1. Weights depend on the kind of tensor, which its name tells, so that activations keep their size through deep networks.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/random/name_hash.h"
#include "tensor/tensor.h"

namespace fm::test {

// z of element i (row-major, from 0).
inline std::uint64_t hash_bits(std::uint64_t key_hash, std::uint64_t i) {
  std::uint64_t z = key_hash + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// v in [-1, 1).
inline double hash_value(std::uint64_t key_hash, std::uint64_t i) { return 2 * (static_cast<double>(hash_bits(key_hash, i) >> 40) / 0x1p24) - 1; }

// The tensor of a state dict with this name and shape: values computed in double, rounded to f32 once, then converted to `type`.
inline Tensor hash_fill(const std::string& name, const Shape& shape, DType type = DType::f32) {
  double offset = 0, factor = 0.1;                       // biases and running means
  const auto contains = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  std::int64_t fan_in = 1;
  for (int d = 1; d < shape.rank(); ++d) fan_in *= shape[d];
  if (name.ends_with("num_batches_tracked")) factor = 0;
  else if (name.ends_with("running_var")) offset = 1, factor = 0.5;
  else if (name.starts_with("lin")) offset = factor = 1 / static_cast<double>(shape[1]);
  else if (contains("pos_embed") || contains("cls_token") || contains("mask_token") || contains("register_tokens")) factor = 0.5;
  else if (shape.rank() >= 2) factor = std::sqrt(6 / static_cast<double>(fan_in));
  else if (name.ends_with("weight") || name.ends_with("gamma")) offset = 1;
  const std::uint64_t key = name_hash(name);
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<float>(offset + factor * hash_value(key, static_cast<std::uint64_t>(i))));
  return Tensor::from(values, shape).to(type);
}

// Image m: bytes (height, width, 3), a triangular wave along the diagonal with a quarter of noise.
inline std::vector<std::uint8_t> hash_image(int m, std::int64_t height, std::int64_t width) {
  const std::uint64_t key = name_hash("image." + std::to_string(m));
  std::vector<std::uint8_t> bytes;
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        const std::int64_t phase = (4 * x + 2 * y + 85 * c + 40 * m) & 511, wave = phase > 255 ? 511 - phase : phase;
        const auto noise = static_cast<std::int64_t>(hash_bits(key, static_cast<std::uint64_t>((y * width + x) * 3 + c)) >> 56);
        bytes.push_back(static_cast<std::uint8_t>((3 * wave + noise) >> 2));
      }
  return bytes;
}

// (7 a + b + 4) / 8, rounded down: an image near a.
inline std::vector<std::uint8_t> near_image(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < a.size(); ++i) bytes.push_back(static_cast<std::uint8_t>((7 * a[i] + b[i] + 4) >> 3));
  return bytes;
}

// Bytes (height, width, 3) as an image (1, 3, height, width) with values scale * byte + offset, computed in double and rounded to `type`.
inline Tensor image_tensor(const std::vector<std::uint8_t>& bytes, std::int64_t height, std::int64_t width, double scale = 1, double offset = 0,
                           DType type = DType::f64) {
  std::vector<double> values;
  for (const std::uint8_t b : bytes) values.push_back(scale * b + offset);
  return Tensor::from(values, {1, height, width, 3}).permute({0, 3, 1, 2}).contiguous().to(type);
}

}  // namespace fm::test
