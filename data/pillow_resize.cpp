// Output pixel i has its center at c = s(i + 1/2), s = in/out, and weights K((j + 1/2 - c) / max(s,1)), normalized to sum 1, over the input
// pixels j within the filter's support. Pillow (src/libImaging/Resample.c) rounds these weights to multiples of 2^-22 and sums in 32-bit
// integers, starting from one half and clipping to [0,255] after each pass; this code does the same.
#include "data/pillow_resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

constexpr int precision_bits = 22;  // 32 bits less 8 of the pixel and 2 of head-room
constexpr int half = 1 << (precision_bits - 1);

double support_of(PillowFilter f) { return f == PillowFilter::box ? 0.5 : f == PillowFilter::bilinear ? 1.0 : 2.0; }

double kernel(PillowFilter f, double x) {
  if (f == PillowFilter::box) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  x = std::fabs(x);
  if (f == PillowFilter::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// The input pixels of one output pixel: first, and their weights in units of 2^-22.
struct Taps {
  int first = 0;
  std::vector<int> weights;
};

Taps taps_of(PillowFilter f, int in, int out, int i) {
  const double scale = double(in) / out, widen = std::max(scale, 1.0), support = support_of(f) * widen, centre = (i + 0.5) * scale;
  const int low = std::max(int(centre - support + 0.5), 0), high = std::min(int(centre + support + 0.5), in);
  std::vector<double> w;
  double sum = 0;
  for (int j = low; j < high; ++j) {
    w.push_back(kernel(f, (j - centre + 0.5) * (1.0 / widen)));
    sum += w.back();
  }
  Taps taps{low, {}};
  for (double v : w) {
    if (sum != 0) v /= sum;
    taps.weights.push_back(int(v * (1 << precision_bits) + (v < 0 ? -0.5 : 0.5)));  // adds one half and truncates towards zero
  }
  return taps;
}

std::vector<Taps> taps_of_range(PillowFilter f, int in, int out, int first, int count) {
  std::vector<Taps> taps;
  for (int i = first; i < first + count; ++i) taps.push_back(taps_of(f, in, out, i));
  return taps;
}

std::uint8_t rounded(int sum) { return std::uint8_t(std::clamp(sum >> precision_bits, 0, 255)); }

template <int C>
void row_across(const std::uint8_t* in, std::uint8_t* out, const std::vector<Taps>& taps) {
  for (const Taps& t : taps) {
    int sum[C];
    for (int c = 0; c < C; ++c) sum[c] = half;
    const std::uint8_t* from = in + std::size_t(t.first) * C;
    const int* weights = t.weights.data();
    const std::size_t n = t.weights.size();
    for (std::size_t j = 0; j < n; ++j, from += C)
      for (int c = 0; c < C; ++c) sum[c] += from[c] * weights[j];
    for (int c = 0; c < C; ++c) out[c] = rounded(sum[c]);
    out += C;
  }
}

// Rows first ... first + rows - 1 only.
Image resized_across(const Image& image, const std::vector<Taps>& taps, int first, int rows) {
  if (image.channels != 1 && image.channels != 3)
    throw ShapeError(fmt::format("pillow_resize: {} channels, 1 or 3 are possible", image.channels));
  Image out = blank_image(int(taps.size()), rows, image.channels);
  const auto row = image.channels == 1 ? row_across<1> : row_across<3>;
  for (int y = 0; y < rows; ++y) row(image.at(0, first + y), out.at(0, y), taps);
  return out;
}

Image resized_down(const Image& image, const std::vector<Taps>& taps) {
  Image out = blank_image(image.width, int(taps.size()), image.channels);
  const std::size_t row = std::size_t(image.width) * image.channels;
  std::vector<int> sum(row);
  for (int y = 0; y < out.height; ++y) {
    const Taps& t = taps[std::size_t(y)];
    std::fill(sum.begin(), sum.end(), half);
    for (std::size_t j = 0; j < t.weights.size(); ++j) {
      const std::uint8_t* from = image.at(0, t.first + int(j));
      const int w = t.weights[j];
#pragma omp simd
      for (std::size_t i = 0; i < row; ++i) sum[i] += from[i] * w;
    }
    std::uint8_t* to = out.at(0, y);
#pragma omp simd
    for (std::size_t i = 0; i < row; ++i) to[i] = rounded(sum[i]);
  }
  return out;
}

struct FilteredRows {
  int first, count;
};

// The rows that the vertical pass reads; its taps then count from the first of them.
FilteredRows rows_for(std::vector<Taps>& taps) {
  int low = taps.front().first, high = 0;
  for (const Taps& t : taps) low = std::min(low, t.first), high = std::max(high, t.first + int(t.weights.size()));
  for (Taps& t : taps) t.first -= low;
  return {low, high - low};
}

// torchvision's Resize(side): the shorter side becomes `side`, the longer one is rounded down.
int longer_side(int longer, int shorter, int side) { return int(std::int64_t(side) * longer / shorter); }

}  // namespace

Image cropped(const Image& image, const PixelBox& b) {
  if (b.left < 0 || b.top < 0 || b.width < 1 || b.height < 1 || b.left + b.width > image.width || b.top + b.height > image.height)
    throw ShapeError(fmt::format("cropped: {}x{} at ({}, {}) is not inside an image of {}x{}", b.width, b.height, b.left, b.top,
                                 image.width, image.height));
  if (b.width == image.width && b.height == image.height) return image;
  Image out = blank_image(b.width, b.height, image.channels);
  for (int y = 0; y < b.height; ++y) std::copy_n(image.at(b.left, b.top + y), std::size_t(b.width) * image.channels, out.at(0, y));
  return out;
}

Image pillow_resize(const Image& image, int width, int height, PillowFilter filter, const PixelBox& part) {
  if (image.empty() || width < 1 || height < 1) {
    throw ShapeError(fmt::format("pillow_resize: {}x{} to {}x{}: sizes must be positive", image.width, image.height, width, height));
  }
  if (part.left < 0 || part.top < 0 || part.width < 1 || part.height < 1 || part.left + part.width > width ||
      part.top + part.height > height)
    throw ShapeError(fmt::format("pillow_resize: the part {}x{} at ({}, {}) is not inside {}x{}", part.width, part.height, part.left,
                                 part.top, width, height));
  std::vector<Taps> down;
  FilteredRows rows{part.top, part.height};
  if (image.height != height) {
    down = taps_of_range(filter, image.height, height, part.top, part.height);
    rows = rows_for(down);
  }
  Image out = image.width == width
                  ? cropped(image, {part.left, rows.first, part.width, rows.count})
                  : resized_across(image, taps_of_range(filter, image.width, width, part.left, part.width), rows.first, rows.count);
  return down.empty() ? out : resized_down(out, down);
}

Image pillow_resize(const Image& image, int width, int height, PillowFilter filter) {
  return pillow_resize(image, width, height, filter, {0, 0, width, height});
}

Image center_crop(const Image& image, int size) {
  if (image.empty() || size < 1) throw ShapeError(fmt::format("center_crop: {}x{} to {}: sizes must be positive", image.width, image.height, size));
  if (std::min(image.width, image.height) >= 2 * size)
    return center_crop(pillow_resize(image, image.width / 2, image.height / 2, PillowFilter::box), size);
  const double scale = double(size) / std::min(image.width, image.height);
  // Python's round: halves to even, as nearbyint in the default rounding mode.
  const int width = int(std::nearbyint(image.width * scale)), height = int(std::nearbyint(image.height * scale));
  return pillow_resize(image, width, height, PillowFilter::bicubic, {(width - size) / 2, (height - size) / 2, size, size});
}

Image random_crop(const Image& image, int shorter, int size, const PhiloxBlock& random) {
  if (image.empty() || size < 1 || shorter < size)
    throw ShapeError(
        fmt::format("random_crop: {}x{} by a shorter side of {} to {}: sizes must be positive, the crop no larger than that side",
                    image.width, image.height, shorter, size));
  const bool wide = image.width > image.height;
  const int longer = wide ? longer_side(image.width, image.height, shorter) : longer_side(image.height, image.width, shorter);
  const int width = wide ? longer : shorter, height = wide ? shorter : longer;
  const int top = int(below(random[0], std::uint32_t(height - size + 1))), left = int(below(random[1], std::uint32_t(width - size + 1)));
  return pillow_resize(image, width, height, PillowFilter::bicubic, {left, top, size, size});
}

}  // namespace fm
