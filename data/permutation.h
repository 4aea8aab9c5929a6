// A keyed permutation of 0..n-1 that is computed, not stored: any element in constant time, so a resumed run continues at its position. A
// training sees its samples in the order of the permutations for epochs 0, 1, ..., one after the other.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/random/philox.h"

namespace fm {

class Permutation {
 public:
  // A permutation of [0,n), n >= 1, for each (key, number); `number` is the epoch.
  Permutation(std::int64_t n, RandomKey key, std::uint32_t number);
  std::int64_t operator()(std::int64_t position) const;

 private:
  std::uint64_t shuffled(std::uint64_t x) const;
  std::uint64_t n_;
  int half_bits_;
  RandomKey key_;
  std::uint32_t number_;
};

struct EpochRow {
  std::int64_t index;       // number of the sample
  std::uint32_t epoch;
};

// Rows first ... first + n - 1 of a training's order; row r of step s of a training with batches of B is number s B + r. Every epoch has
// each of the `count` >= 1 samples once, for any batch size.
std::vector<EpochRow> epoch_rows(std::int64_t count, std::uint64_t seed, std::int64_t first, std::int64_t n);
std::vector<std::int64_t> shuffled_rows(std::int64_t count, std::uint64_t seed, std::int64_t first, std::int64_t n);   // the indices alone

// Whether a sample is mirrored left to right in an epoch: with probability 1/2.
bool is_mirrored(std::uint64_t seed, EpochRow row);

}  // namespace fm
