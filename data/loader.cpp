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
  if (source_->count() < 1) throw ConfigError("loader: the source has no samples");
}

void Loader::read(const EpochRow& row, float* pixels) const {
  const SampleSource& s = *source_;
  const std::int64_t lines = std::int64_t(s.channels()) * s.height(), size = lines * s.width();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  s.read(row.index, RandomKey{options_.seed, crop_stream}.block(std::uint64_t(row.index), row.epoch), bytes.data());
  static const std::array<float, 256> level = [] {
    std::array<float, 256> table;
    for (std::size_t i = 0; i < 256; ++i) table[i] = float(i) / 255.0f;
    return table;
  }();
  for (std::int64_t i = 0; i < size; ++i) pixels[i] = level[bytes[std::size_t(i)]];
  if (options_.flip && is_mirrored(options_.seed, row)) mirror(pixels, lines, s.width());
}

ImageBatch Loader::batch(std::int64_t first, std::int64_t n) const {
  const SampleSource& s = *source_;
  if (first < 0 || n < 1)
    throw ShapeError(fmt::format("loader: rows from {}, {} of them: the first must not be negative, and one at least", first, n));
  ImageBatch b;
  b.rows = options_.shuffle ? epoch_rows(s.count(), options_.seed, first, n) : rows_in_place(s.count(), first, n);
  b.pixels = Tensor::empty({n, s.channels(), s.height(), s.width()}, DType::f32, Device{});
  b.labels = Tensor::empty({n}, DType::i64, Device{});
  float* pixels = b.pixels.data<float>();
  const std::int64_t size = b.pixels.numel() / n;
  for (std::int64_t i = 0; i < n; ++i) b.labels.data<std::int64_t>()[i] = s.label(b.rows[std::size_t(i)].index);
  on_threads(n, options_.workers, [&](std::int64_t i) { read(b.rows[std::size_t(i)], pixels + i * size); });
  return b;
}

}  // namespace fm
