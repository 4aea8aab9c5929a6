// Philox against Random123's published answers, and the distributions made from its words.
#include "tensor/random/philox.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/random/name_hash.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::near;

TEST_CASE("philox4x32-10 gives Random123's known answers") {
  static_assert(philox4x32({{0, 0, 0, 0}}, {{0, 0}}) == PhiloxBlock{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  const std::uint32_t f = 0xffffffff;
  CHECK(philox4x32({{f, f, f, f}}, {{f, f}}) == PhiloxBlock{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  CHECK(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}}) ==
        PhiloxBlock{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("a random key maps seed, stream, index and draw to their words") {
  const RandomKey key{0x299f31d0a4093822ull, 0x03707344};
  CHECK(key.block(0x85a308d3243f6a88ull, 0x13198a2e) == PhiloxBlock{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("hashes of names equal the published FNV-1a hashes") {
  static_assert(name_hash("") == 0xcbf29ce484222325u);
  static_assert(name_hash("a") == 0xaf63dc4c8601ec8cu);
  static_assert(name_hash("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("uniforms stay in [0,1) and bounded integers below n") {
  CHECK(uniform_from_bits(0u) == 0.0f);
  CHECK(uniform_from_bits(0xffffffffu) == 1.0f - 0x1p-24f);
  CHECK(uniform_from_bits(0xffffffffu, 0xffffffffu) == 1.0 - 0x1p-53);
  CHECK(below(0xffffffffu, 10u) == 9u);
  for (std::uint64_t n : {1ull, 7ull, 0xffffffffull, 0x123456789abcdefull, ~0ull}) {
    for (std::uint64_t i = 0; i < 100; ++i) {
      const PhiloxBlock b = RandomKey{i, 3}.block(i);
      const auto wide = static_cast<unsigned __int128>(std::uint64_t(b[0]) << 32 | b[1]) * n >> 64;
      CHECK(below(b[0], b[1], n) == std::uint64_t(wide));
    }
  }
}

TEST_CASE("Box-Muller agrees with double arithmetic") {
  double worst = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const PhiloxBlock b = RandomKey{5, 1}.block(i);
    const std::uint32_t small = b[0] >> (i % 33 == 32 ? 31 : i % 33);  // small words too: they give the tails of the distributions
    const NormalPair n = normal_from_bits(small, b[1]);
    const double r = std::sqrt(-2 * std::log((small + 0.5) / 4294967296.0)), a = 2 * M_PI * (b[1] / 4294967296.0);
    worst = std::max({worst, std::fabs(n.first - r * std::cos(a)), std::fabs(n.second - r * std::sin(a))});
  }
  CHECK(worst < 2e-6);
  CHECK(std::isfinite(normal_from_bits(0xffffffffu, 0).first));
  CHECK(near(normal_from_bits(0, 0).first, 6.7637, 1e-5));
}

TEST_CASE("normals have the moments of N(0,1) and pairs are independent") {
  const int n = 1 << 20;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, cross = 0;
  for (int i = 0; i < n / 2; ++i) {
    const PhiloxBlock b = RandomKey{42, 7}.block(i);
    const NormalPair p = normal_from_bits(b[0], b[1]);
    for (double x : {double(p.first), double(p.second)}) m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
    cross += double(p.first) * p.second;
  }
  CHECK(std::fabs(m1 / n) < 4e-3);
  CHECK(near(m2 / n, 1, 6e-3));
  CHECK(std::fabs(m3 / n) < 1.5e-2);
  CHECK(near(m4 / n, 3, 1.5e-2));
  CHECK(std::fabs(cross / (n / 2)) < 6e-3);
}
