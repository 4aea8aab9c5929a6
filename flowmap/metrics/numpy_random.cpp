#include "flowmap/metrics/numpy_random.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "tensor/error.h"

namespace fm {

std::uint32_t NumpyRandom::below_or_equal(std::uint32_t last) {
  std::uint32_t mask = last;
  for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  const auto next = [&] { return static_cast<std::uint32_t>(words_()) & mask; };  // fits: 32 bits
  std::uint32_t value = next();
  while (value > last) value = next();
  return value;
}

std::vector<std::int64_t> NumpyRandom::permutation(std::int64_t n) {
  if (n < 0 || n > std::int64_t{1} << 32) throw ShapeError("numpy_permutation: n must be from 0 to 2^32, not " + std::to_string(n));
  std::vector<std::int64_t> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), std::int64_t{0});
  for (std::size_t i = out.size(); i-- > 1;) std::swap(out[i], out[below_or_equal(static_cast<std::uint32_t>(i))]);  // fits: i < 2^32
  return out;
}

std::vector<std::int64_t> NumpyRandom::choice(std::int64_t n, std::int64_t m) {
  if (m < 0 || m > n)
    throw ShapeError("NumpyRandom::choice: cannot choose " + std::to_string(m) + " of " + std::to_string(n) + " without replacement");
  std::vector<std::int64_t> out = permutation(n);
  out.resize(static_cast<std::size_t>(m));
  return out;
}

std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t n) { return NumpyRandom(seed).permutation(n); }

}  // namespace fm
