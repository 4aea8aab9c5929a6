#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "data/threads.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::uint32_t crop_stream = 0x43525032;

void mirror(float* pixels, std::int64_t lines, std::int64_t width) {
  for (std::int64_t i = 0; i < lines; ++i) std::reverse(pixels + i * width, pixels + (i + 1) * width);
}

std::vector<EpochRow> rows_in_place(std::int64_t count, std::int64_t first, std::int64_t n) {
  std::vector<EpochRow> rows;
  for (std::int64_t i = first; i < first + n; ++i) rows.push_back({i % count, narrow<std::uint32_t>(i / count, "epoch")});
  return rows;
}

}  // namespace

Loader::Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options)
    : source_(std::move(source)), options_(options), ahead_([this](std::int64_t first, std::int64_t n) { return batch(first, n); }) {
  if (options.workers < 0) throw ConfigError(fmt::format("loader: {} workers: must not be negative", options.workers));
  if (source_->count() < 1) throw ConfigError(fmt::format("loader: {} has no samples", source_->name()));
  if (source_->dtype() != DType::u8 && source_->dtype() != DType::f32)
    throw ConfigError(fmt::format("loader: {} has samples of {}; u8 and f32 can be loaded", source_->name(), name_of(source_->dtype())));
  if (options.flip) picture_size(*source_, "mirroring (flip)");
}

void Loader::read(const EpochRow& row, float* x) const {
  const SampleSource& s = *source_;
  const PhiloxBlock random = RandomKey{options_.seed, crop_stream}.block(std::uint64_t(row.index), row.epoch);
  if (s.dtype() == DType::f32) return s.read(row.index, random, x);
  const std::int64_t size = s.shape().numel();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  s.read(row.index, random, bytes.data());
  static const std::array<float, 256> level = [] {
    std::array<float, 256> table;
    for (std::size_t i = 0; i < 256; ++i) table[i] = float(i) / 255.0f;
    return table;
  }();
  for (std::int64_t i = 0; i < size; ++i) x[i] = level[bytes[std::size_t(i)]];
  if (options_.flip && is_mirrored(options_.seed, row)) mirror(x, size / s.shape().back(), s.shape().back());
}

SampleBatch Loader::batch(std::int64_t first, std::int64_t n) const {
  const SampleSource& s = *source_;
  if (first < 0 || n < 1)
    throw ShapeError(fmt::format("loader: a batch from row {} with {} rows: the first row must not be negative, the number at least 1", first, n));
  SampleBatch b;
  b.rows = options_.shuffle ? epoch_rows(s.count(), options_.seed, first, n) : rows_in_place(s.count(), first, n);
  b.x = Tensor::empty(s.shape().rows(n), DType::f32, Device{});
  b.labels = Tensor::empty({n}, DType::i64, Device{});
  float* x = b.x.data<float>();
  const std::int64_t size = b.x.numel() / n;
  for (std::int64_t i = 0; i < n; ++i) b.labels.data<std::int64_t>()[i] = s.label(b.rows[std::size_t(i)].index);
  on_threads(n, options_.workers, [&](std::int64_t i) { read(b.rows[std::size_t(i)], x + i * size); });
  return b;
}

}  // namespace fm
