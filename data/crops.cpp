#include "data/crops.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/narrow.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

struct Box {
  double top, left, height, width;
  bool mirrored;
  float brightness, contrast;
};

Box draw_box(RandomKey key, std::int64_t sample, std::uint32_t draw, const CropRecipe& r, std::int64_t H, std::int64_t W) {
  const auto index = static_cast<std::uint64_t>(sample) * 2;
  const PhiloxBlock a = key.block(index, draw), b = key.block(index + 1, draw);
  const double area = (r.scale_low + (r.scale_high - r.scale_low) * uniform_from_bits(a[0])) * static_cast<double>(H * W);
  const double aspect = std::exp((2.0 * uniform_from_bits(a[1]) - 1.0) * std::log(r.aspect));
  Box box;
  box.width = std::min(std::sqrt(area * aspect), static_cast<double>(W));
  box.height = std::min(std::sqrt(area / aspect), static_cast<double>(H));
  box.top = (static_cast<double>(H) - box.height) * uniform_from_bits(a[2]);
  box.left = (static_cast<double>(W) - box.width) * uniform_from_bits(a[3]);
  box.mirrored = uniform_from_bits(b[0]) < r.flip;
  box.brightness = static_cast<float>(1 + r.jitter * (2.0 * uniform_from_bits(b[1]) - 1.0));
  box.contrast = static_cast<float>(1 + r.jitter * (2.0 * uniform_from_bits(b[2]) - 1.0));
  return box;
}

struct Tap {
  std::int64_t at, next;
  float weight;        // weight of `next`
};

Tap tap(double start, double length, std::int64_t i, std::int64_t out, std::int64_t in) {
  const double x = std::clamp(start + (static_cast<double>(i) + 0.5) * length / static_cast<double>(out) - 0.5, 0.0, static_cast<double>(in - 1));
  const auto at = static_cast<std::int64_t>(x);
  return {at, std::min(at + 1, in - 1), static_cast<float>(x - static_cast<double>(at))};
}

void crop(const float* image, float* out, std::int64_t H, std::int64_t W, std::int64_t S, const Box& box) {
  float mean = 0;
  for (std::int64_t y = 0; y < S; ++y) {
    const Tap ty = tap(box.top, box.height, y, S, H);
    for (std::int64_t x = 0; x < S; ++x) {
      const Tap tx = tap(box.left, box.width, box.mirrored ? S - 1 - x : x, S, W);
      const float* upper = image + ty.at * W;
      const float* lower = image + ty.next * W;
      const float a = upper[tx.at] + tx.weight * (upper[tx.next] - upper[tx.at]);
      const float b = lower[tx.at] + tx.weight * (lower[tx.next] - lower[tx.at]);
      mean += out[y * S + x] = a + ty.weight * (b - a);
    }
  }
  mean /= static_cast<float>(S * S);
  for (std::int64_t i = 0; i < S * S; ++i) out[i] = std::clamp(((out[i] - mean) * box.contrast + mean) * box.brightness, 0.0f, 1.0f);
}

}  // namespace

Tensor random_crops(const Tensor& images, const Samples& samples, RandomKey key, std::uint32_t draw, const CropRecipe& recipe) {
  if (images.rank() != 4 || images.dim(0) != static_cast<std::int64_t>(samples.size()))
    throw ShapeError("random_crops: images " + to_string(images.shape()) + " with " + std::to_string(samples.size()) + " sample numbers: needs (B, C, H, W) and B numbers");
  const Tensor in = images.contiguous();
  const std::int64_t C = in.dim(1), H = in.dim(2), W = in.dim(3), S = recipe.size;
  Tensor out = Tensor::empty({in.dim(0), C, S, S}, DType::f32, Device{});
  parallel_for(in.dim(0), C * S * S * 20, [&](std::int64_t b) {
    const Box box = draw_box(key, samples[static_cast<std::size_t>(b)], draw, recipe, H, W);
    for (std::int64_t c = 0; c < C; ++c) crop(in.data<float>() + (b * C + c) * H * W, out.data<float>() + (b * C + c) * S * S, H, W, S, box);
  });
  return out;
}

Tensor random_shifts(const Tensor& images, const Samples& samples, RandomKey key, std::uint32_t draw, std::int64_t reach, double flip) {
  if (images.rank() != 4 || images.dim(0) != static_cast<std::int64_t>(samples.size()))
    throw ShapeError("random_shifts: images " + to_string(images.shape()) + " with " + std::to_string(samples.size()) + " sample numbers: needs (B, C, H, W) and B numbers");
  const Tensor in = images.contiguous();
  const std::int64_t C = in.dim(1), H = in.dim(2), W = in.dim(3);
  Tensor out = Tensor::zeros(in.shape(), DType::f32, Device{});
  parallel_for(in.dim(0), C * H * W * 4, [&](std::int64_t b) {
    const PhiloxBlock r = key.block(static_cast<std::uint64_t>(samples[static_cast<std::size_t>(b)]), draw);
    const auto choices = narrow<std::uint32_t>(2 * reach + 1);
    const std::int64_t dy = static_cast<std::int64_t>(below(r[0], choices)) - reach, dx = static_cast<std::int64_t>(below(r[1], choices)) - reach;
    const bool mirrored = uniform_from_bits(r[2]) < flip;
    for (std::int64_t c = 0; c < C; ++c)
      for (std::int64_t y = std::max<std::int64_t>(0, dy); y < std::min(H, H + dy); ++y)
        for (std::int64_t x = std::max<std::int64_t>(0, dx); x < std::min(W, W + dx); ++x) {
          const std::int64_t from = x - dx;
          out.data<float>()[((b * C + c) * H + y) * W + x] = in.data<float>()[((b * C + c) * H + y - dy) * W + (mirrored ? W - 1 - from : from)];
        }
  });
  return out;
}

}  // namespace fm
