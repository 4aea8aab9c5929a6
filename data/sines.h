// Time series computed by the program, to try out networks of sequences: sums of two sines with random phases.
//
//   x(c, l) = sqrt(2) (0.8 sin(2 pi f l / length + a) + 0.6 sin(2 pi (f + 4) l / length + b)),     f = label + 1, label = i mod 4
//
// with a and b uniform in [0, 2 pi), drawn from (seed, split, sample, channel). Every sample has mean 0 and variance 0.64 + 0.36 = 1, exactly.
#pragma once

#include <cstdint>
#include <memory>

#include "data/data_spec.h"
#include "data/source.h"

namespace fm {

struct SinesOptions {
  std::int64_t count = 20000;
  std::int64_t length = 64;    // >= 32: above twice the highest frequency
  std::int64_t channels = 1;
  std::uint64_t seed = 1;
};

// Samples are f32 (channels, length). ConfigError: count, length or channels too small.
std::shared_ptr<const SampleSource> sine_source(const SinesOptions& options, Split split);

// "sines" (kinds.h).
std::shared_ptr<const SampleSource> open_sines(DataSpec& spec, Split split);

}  // namespace fm
