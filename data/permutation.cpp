// Feistel network on 2h bits, (l, r) -> (r, l ^ F(r, round)) with Philox as F, and cycle walking: values >= n are mapped again until one is
// below n (Black, Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Each step is invertible, so the whole is a permutation.
#include "data/permutation.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {
constexpr int feistel_rounds = 8;
constexpr int min_half_bits = 4;  // fewer bits would reach only few permutations; walking 256 values costs little
constexpr std::uint32_t order_stream = 0x53485546, mirror_stream = 0x4D495252;
}  // namespace

Permutation::Permutation(std::int64_t n, RandomKey key, std::uint32_t number)
    : n_(std::uint64_t(n)), half_bits_(min_half_bits), key_(key), number_(number) {
  if (n < 1) throw ShapeError(fmt::format("Permutation: {} elements, needs at least 1", n));
  while (half_bits_ < 31 && (std::uint64_t{1} << 2 * half_bits_) < n_) ++half_bits_;
}

std::uint64_t Permutation::shuffled(std::uint64_t x) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = x >> half_bits_, right = x & mask;
  for (std::uint64_t round = 0; round < feistel_rounds; ++round) {
    const std::uint64_t next = left ^ (key_.block(right | round << 32, number_)[0] & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

std::int64_t Permutation::operator()(std::int64_t position) const {
  if (position < 0 || std::uint64_t(position) >= n_) {
    throw ShapeError(fmt::format("Permutation: position {} is outside [0, {})", position, n_));
  }
  std::uint64_t x = std::uint64_t(position);
  do x = shuffled(x);
  while (x >= n_);
  return std::int64_t(x);
}

std::vector<EpochRow> epoch_rows(std::int64_t count, std::uint64_t seed, std::int64_t first, std::int64_t n) {
  if (first < 0) throw ShapeError(fmt::format("epoch_rows: row {} is negative", first));
  std::vector<EpochRow> rows;
  rows.reserve(std::size_t(n));
  for (std::int64_t i = first; i < first + n;) {
    const auto epoch = narrow<std::uint32_t>(i / count, "epoch");
    const std::int64_t end = std::min(first + n, (i / count + 1) * count);
    const Permutation order(count, {seed, order_stream}, epoch);
    for (; i < end; ++i) rows.push_back({order(i % count), epoch});
  }
  return rows;
}

std::vector<std::int64_t> shuffled_rows(std::int64_t count, std::uint64_t seed, std::int64_t first, std::int64_t n) {
  std::vector<std::int64_t> indices;
  for (const EpochRow& row : epoch_rows(count, seed, first, n)) indices.push_back(row.index);
  return indices;
}

bool is_mirrored(std::uint64_t seed, EpochRow row) {
  return (RandomKey{seed, mirror_stream}.block(std::uint64_t(row.index), row.epoch)[0] & 1u) != 0;
}

}  // namespace fm
