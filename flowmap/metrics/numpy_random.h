// NumPy's legacy random generator, numpy.random.RandomState, which is std::mt19937 with the same seed. Published metrics choose their
// subsets with it, so their numbers can only be reproduced with the same permutations. For all other purposes there is
// tensor/random/philox.h.
//
//   permutation(n): a = 0, 1, ..., n-1; for i = n-1, ..., 1: draw j in [0, i] and swap a[i] and a[j]
//   a draw in [0, i]: 32-bit words until (word & mask) <= i, with the smallest mask 2^k - 1 >= i
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace fm {

class NumpyRandom {
 public:
  explicit NumpyRandom(std::uint32_t seed) : words_(seed) {}     // RandomState(seed)

  std::vector<std::int64_t> permutation(std::int64_t n);         // of 0 .. n-1. ShapeError unless 0 <= n <= 2^32
  // choice(n, m, replace=False): the first m numbers of permutation(n). ShapeError unless 0 <= m <= n.
  std::vector<std::int64_t> choice(std::int64_t n, std::int64_t m);

 private:
  std::uint32_t below_or_equal(std::uint32_t last);
  std::mt19937 words_;
};

// RandomState(seed).permutation(n)
std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t n);

}  // namespace fm
