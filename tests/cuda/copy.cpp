// Strided copies with conversion on a GPU against plain loops: transposes (through tiles of shared memory), other
// copies, and matrices that do not fill tiles.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/cuda/on_gpu.h"

using namespace fm;
using fm::test::gpu;
using fm::test::OnGpu;
using Int = std::int64_t;

namespace {

// Numbers that every type represents exactly.
template <class T>
std::vector<T> numbers(Int n) {
  std::vector<T> x;
  for (Int i = 0; i < n; ++i) x.push_back(T(static_cast<float>(i * 7 % 251)));
  return x;
}

template <class A, class B>
void check(const Walk& w) {
  const Int n = w.shape.numel();
  const std::vector<A> from = numbers<A>(n);
  const OnGpu<A> a(from);
  const OnGpu<B> b(std::vector<B>(static_cast<std::size_t>(n), B(255.0f)));
  gpu().copy.copy(dtype_of<A>, a.data(), dtype_of<B>, b.data(), w);
  const std::vector<B> got = b.values();
  Int wrong = 0;
  for (Int run = 0; run < w.runs(); ++run)
    for (Int i = 0; i < w.run_length(); ++i) {
      const Walk::Offsets at = w.run(run);
      const auto to = static_cast<std::size_t>(at.b + i * w.b.back()), source = static_cast<std::size_t>(at.a + i * w.a.back());
      wrong += static_cast<double>(got[to]) != static_cast<double>(from[source]);
    }
  CHECK(wrong == 0);
}

void check_types(const Walk& w) {
  check<float, float>(w);
  check<float, bf16>(w);
  check<bf16, bf16>(w);
  check<bf16, double>(w);
  check<double, float>(w);
  check<Int, std::int32_t>(w);
  check<std::uint8_t, std::uint8_t>(w);
}

}  // namespace

TEST_CASE("copies on a GPU: transposes of matrices of any size") {
  for (const Int rows : {7, 8, 31, 32, 33, 100})
    for (const Int columns : {8, 32, 65}) {
      CAPTURE(rows);
      CAPTURE(columns);
      check_types({{rows, columns}, {columns, 1}, {1, rows}});
      check_types({{rows, columns}, {1, rows}, {columns, 1}});
    }
}

TEST_CASE("copies on a GPU: dimensions in any order") {
  const Int p = 3, q = 9, r = 40;
  check_types({{p, q, r}, {q * r, r, 1}, {q * r, 1, q}});  // transposes each matrix
  check_types({{p, q, r}, {q * r, r, 1}, {r, p * r, 1}});  // swaps p and q: rows stay contiguous
  check_types({{p, q, r}, {q * r, r, 1}, {1, p, p * q}});  // reverses the dimensions
  check_types({{r, p, q}, {1, q * r, r}, {p * q, q, 1}});
}
