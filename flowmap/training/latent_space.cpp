#include "flowmap/training/latent_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/io/crc32c.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

void check_rows(const Tensor& latents, const Shape& row, const LatentCoder& coder) {
  if (latents.rank() == row.rank() + 1 && latents.shape().without(0) == row) return;
  throw ShapeError(fmt::format("latent space {}: latents have the shape {}; their rows must be {}", coder.name, to_string(latents.shape()), to_string(row)));
}

}  // namespace

LatentSpace::LatentSpace(LatentCoder coder, LatentStats statistics) : coder_(std::move(coder)), statistics_(std::move(statistics)) {
  statistics_.floor = coder_.variance_floor;
  for (const Tensor* t : {&statistics_.mean, &statistics_.variance})
    if (t->defined() && t->shape() != coder_.shape)
      throw ShapeError(fmt::format("latent space {}: the statistics have the shape {}, but its latents have the shape {}", coder_.name, to_string(t->shape()), to_string(coder_.shape)));
}

Tensor LatentSpace::scaled(const Tensor& latents) const { return statistics_.defined() ? statistics_.normalise(latents) : latents; }

Tensor LatentSpace::normalised(const RawLatents& raw) const {
  check_rows(raw.values, coder_.stored(), coder_);
  return scaled(coder_.posterior ? raw.values.slice(1, 0, coder_.shape[0]) : raw.values);
}

Tensor LatentSpace::sampled(const RawLatents& raw, const Draws& draws) const {
  if (!coder_.posterior) return normalised(raw);
  check_rows(raw.values, coder_.stored(), coder_);
  const std::int64_t channels = coder_.shape[0];
  const Tensor mean = raw.values.slice(1, 0, channels), deviation = raw.values.slice(1, channels, 2 * channels);
  return scaled(mean + deviation * draws.normal(coder_.shape, DType::f32, Purpose::posterior).to(mean.device()));
}

Tensor LatentSpace::encode(const Tensor& samples) const { return normalised({coder_.encode ? coder_.encode(samples) : samples}); }

Tensor LatentSpace::decode(const Tensor& latents) const {
  check_rows(latents, coder_.shape, coder_);
  const Tensor raw = statistics_.defined() ? statistics_.restore(latents) : latents;
  return coder_.decode ? coder_.decode(raw) : raw;
}

std::string LatentSpace::decoding() const {
  std::string line;
  if (coder_.decoder) line = "decoder " + coder_.decoder();
  if (statistics_.defined()) line += (line.empty() ? "stats " : " stats ") + checksum(statistics_);
  return line;
}

std::string LatentSpace::fingerprint() const {
  std::string what = fmt::format("{} {} {}", coder_.name, to_string(coder_.shape), coder_.preprocessing);
  const Checksums weights = coder_.encoder ? coder_.encoder() : Checksums();
  for (const auto& [part, sum] : weights) what += fmt::format(" {} {}", part, sum);
  what += fmt::format(" statistics {} {}", checksum(statistics_), statistics_.floor);
  return fmt::format("{:08x}", crc32c(what));
}

std::string with_precision(const std::string& checksum, const std::string& precision) { return precision == "f32" ? checksum : checksum + " " + precision; }

LatentCoder identity_coder(Shape shape) { return {.name = "identity", .shape = std::move(shape)}; }

LatentSpace identity_space(Shape shape, LatentStats statistics) { return LatentSpace(identity_coder(std::move(shape)), std::move(statistics)); }

LatentStats statistics_of(const Tensor& samples) {
  const Tensor x = samples.to(Device{}).contiguous();
  const std::int64_t n = x.dim(0), size = x.numel() / std::max<std::int64_t>(1, n);
  if (n < 2) throw ConfigError(fmt::format("statistics of {} sample{}: at least two samples are needed", n, n == 1 ? "" : "s"));
  const float* values = x.data<float>();
  const auto elements = static_cast<std::size_t>(size), rows = static_cast<std::size_t>(n);
  const auto from_first = [&](std::size_t i, std::size_t k) { return static_cast<double>(values[i * elements + k]) - static_cast<double>(values[k]); };
  std::vector<double> mean(elements, 0), variance(elements, 0);    // mean: at first of the differences from the first sample, so that equal samples have variance 0
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t k = 0; k < elements; ++k) mean[k] += from_first(i, k) / static_cast<double>(n);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t k = 0; k < elements; ++k) variance[k] += std::pow(from_first(i, k) - mean[k], 2) / static_cast<double>(n);
  for (std::size_t k = 0; k < elements; ++k) {
    mean[k] += static_cast<double>(values[k]);
    if (variance[k] == 0) variance[k] = 1;
    if (!(variance[k] > 1e-30 && variance[k] < 1e30))
      throw ConfigError(fmt::format("element {} of the samples has variance {:.3g}, which f32 cannot scale: give the data in other units", k, variance[k]));
  }
  const Shape shape = x.shape().without(0);
  return {Tensor::from(mean, shape).to(DType::f32), Tensor::from(variance, shape).to(DType::f32)};
}

}  // namespace fm
