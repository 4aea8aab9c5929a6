// NumPy's legacy random generator, numpy.random.RandomState: MT19937 (Matsumoto and Nishimura 1998) seeded by one integer. Published
// metrics choose their subsets with it, so their numbers can only be reproduced with the same permutations. For all other purposes there is
// tensor/random/philox.h.
//
//   permutation(n): a = 0, 1, ..., n-1; for i = n-1, ..., 1: draw j in [0, i] and swap a[i] and a[j]
//   a draw in [0, i]: 32-bit words until (word & mask) <= i, with the smallest mask 2^k - 1 >= i
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fm {

class NumpyRandom {
 public:
  explicit NumpyRandom(std::uint32_t seed);                      // RandomState(seed)

  std::uint32_t word();                                          // the next 32 bits
  std::vector<std::int64_t> permutation(std::int64_t n);         // of 0 .. n-1. ShapeError unless 0 <= n <= 2^32
  // choice(n, m, replace=False): the first m numbers of permutation(n). ShapeError unless 0 <= m <= n.
  std::vector<std::int64_t> choice(std::int64_t n, std::int64_t m);

 private:
  static constexpr std::size_t words = 624;
  void refill();
  std::uint32_t below_or_equal(std::uint32_t last);
  std::array<std::uint32_t, words> state_;
  std::size_t used_ = words;                                     // words of state_ that were returned
};

// RandomState(seed).permutation(n)
std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t n);

}  // namespace fm
