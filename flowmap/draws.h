// The random numbers of a training batch. They are pure functions of (seed, step, sample number, purpose), so a batch is the same on any number
// of ranks and threads, after a restart, and in any order of its rows.
#pragma once

#include "tensor/random/fill.h"

namespace fm {

enum class Purpose : std::uint32_t { noise = 0x464D0000u, time, diagonal, label_drop, label_redrop, pair, split, shortcut, sampling, grid,
  middle, second_time, group, renoise, posterior, augmentation, beside };

struct Draws {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  Samples samples;                       // the global number of each row's sample

  std::size_t rows() const { return samples.size(); }

  // Number `i` of this row for this purpose, in [0, 1).
  double uniform(Purpose purpose, std::size_t row, std::uint32_t i = 0) const {
    const PhiloxBlock b = key(purpose, i).block(static_cast<std::uint64_t>(samples[row]), step);
    return uniform_from_bits(b[0], b[1]);
  }
  // Number `i` of the whole batch for this purpose, in [0, 1). Every part of the batch gets the same number.
  double shared(Purpose purpose, std::uint32_t i = 0) const {
    constexpr std::uint64_t no_sample = ~std::uint64_t{0};
    const PhiloxBlock b = key(purpose, i).block(no_sample, step);
    return uniform_from_bits(b[0], b[1]);
  }
  // N(0, 1) of shape (rows, row_shape...).
  Tensor normal(const Shape& row_shape, DType dtype, Purpose purpose = Purpose::noise) const {
    return random_normal_rows(samples, row_shape, key(purpose, 0), step, dtype);
  }
  Draws reordered(const std::vector<std::int64_t>& order) const {
    Draws out{seed, step, {}};
    for (std::int64_t i : order) out.samples.push_back(samples[static_cast<std::size_t>(i)]);
    return out;
  }

 private:
  RandomKey key(Purpose purpose, std::uint32_t i) const { return {seed, static_cast<std::uint32_t>(purpose) + (i << 8)}; }
};

}  // namespace fm
