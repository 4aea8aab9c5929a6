// A keyed permutation of 0..n-1 that is computed, not stored: any element in constant time, so a resumed run continues where it was.
#pragma once

#include <cstdint>

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

}  // namespace fm
