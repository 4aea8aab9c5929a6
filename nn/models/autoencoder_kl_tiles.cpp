#include "nn/models/autoencoder_kl_tiles.h"

#include <algorithm>

#include "autodiff/tape.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

// First positions of the tiles along an axis of n positions.
std::vector<std::int64_t> tile_starts(std::int64_t n, const Tiling& t) {
  std::vector<std::int64_t> starts;
  for (std::int64_t start = 0; start + t.tile < n; start += t.tile - t.overlap) starts.push_back(start);
  starts.push_back(std::max<std::int64_t>(0, n - t.tile));
  return starts;
}

// Writes `part` into the canvas from position `at` of dimension dim on. Its first `overlap` positions are mixed with those of the canvas.
void blend_into(Tensor& canvas, const Tensor& part, int dim, std::int64_t at, std::int64_t overlap) {
  const std::int64_t n = part.dim(dim);
  if (overlap > 0) {
    std::vector<double> weights;
    for (std::int64_t k = 0; k < overlap; ++k) weights.push_back(static_cast<double>(k) / static_cast<double>(overlap));
    const Tensor ramp = Tensor::from(weights, Shape::filled(4, 1).with(dim, overlap)).to(part.dtype()).to(part.device());
    Tensor old = canvas.slice(dim, at, at + overlap);
    old.copy_from(old * (1.0 - ramp) + part.slice(dim, 0, overlap) * ramp);
  }
  canvas.slice(dim, at + overlap, at + n).copy_from(part.slice(dim, overlap, n));
}

// Computes parts from starts[i] on along an axis, and joins them. size: positions of the whole axis and of a part, in pixels of `factor` each.
template <class F>
Tensor join(const std::vector<std::int64_t>& starts, std::int64_t factor, int dim, std::int64_t n, const F& part_at) {
  Tensor canvas;
  std::int64_t end = 0;                          // pixels written so far
  for (const std::int64_t start : starts) {
    const Tensor part = part_at(start);
    if (!canvas.defined()) canvas = Tensor::empty(part.shape().with(dim, n * factor), part.dtype(), part.device());
    const std::int64_t at = start * factor;
    blend_into(canvas, part, dim, at, std::max<std::int64_t>(0, end - at));
    end = at + part.dim(dim);
  }
  return canvas;
}

}  // namespace

Tensor decode_tiles(const AutoencoderKL& model, const Tensor& latents, const Tiling& t) {
  if (t.overlap < 0 || t.overlap >= t.tile)
    throw ConfigError("decode_tiles: overlap " + std::to_string(t.overlap) + " must be at least 0 and smaller than the tile, " + std::to_string(t.tile));
  const PauseTape pause;
  if (!latents.defined() || latents.rank() != 4 || (latents.dim(2) <= t.tile && latents.dim(3) <= t.tile)) return model.decode(latents).value();
  const std::int64_t h = latents.dim(2), w = latents.dim(3), factor = model.config.factor();
  const auto rows = tile_starts(h, t), columns = tile_starts(w, t);
  return join(rows, factor, 2, h, [&](std::int64_t y) {
    const Tensor strip = latents.slice(2, y, std::min(h, y + t.tile));
    return join(columns, factor, 3, w, [&](std::int64_t x) { return model.decode(strip.slice(3, x, std::min(w, x + t.tile)).contiguous()).value(); });
  });
}

}  // namespace fm
