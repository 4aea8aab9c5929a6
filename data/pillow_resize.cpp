// Output pixel i looks at centre c = s(i + 1/2), s = in/out, through K((j + 1/2 - c) / max(s,1)), normalised to sum 1, over the input pixels j
// within the filter's support. Pillow (src/libImaging/Resample.c) rounds these weights to multiples of 2^-22 and sums in 32-bit integers,
// starting from one half and clipping to [0,255] after each pass; so does this.
#include "data/pillow_resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

constexpr int precision_bits = 22;  // 32 bits less 8 of the pixel and 2 of head-room

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
    taps.weights.push_back(int(v * (1 << precision_bits) + (v < 0 ? -0.5 : 0.5)));  // towards zero after adding a half
  }
  return taps;
}

// One pass along rows whose elements lie `step` apart; `lines` such rows start at origin(line).
template <class Origin>
void pass(const std::uint8_t* in, std::uint8_t* out, const std::vector<Taps>& taps, int lines, std::size_t in_step, std::size_t out_step,
          const Origin& origin) {
  for (int line = 0; line < lines; ++line) {
    const auto [from, to] = origin(line);
    for (std::size_t i = 0; i < taps.size(); ++i) {
      int sum = 1 << (precision_bits - 1);
      const std::uint8_t* source = in + from + std::size_t(taps[i].first) * in_step;
      for (std::size_t j = 0; j < taps[i].weights.size(); ++j) sum += source[j * in_step] * taps[i].weights[j];
      out[to + i * out_step] = std::uint8_t(std::clamp(sum >> precision_bits, 0, 255));
    }
  }
}

std::vector<Taps> all_taps(PillowFilter f, int in, int out) {
  std::vector<Taps> taps;
  for (int i = 0; i < out; ++i) taps.push_back(taps_of(f, in, out, i));
  return taps;
}

struct Origins {
  std::size_t from, to;
};

Image resized_across(const Image& image, int width, PillowFilter f) {
  Image out = blank_image(width, image.height, image.channels);
  const int c = image.channels;
  pass(image.pixels.data(), out.pixels.data(), all_taps(f, image.width, width), image.height * c, std::size_t(c), std::size_t(c),
       [&](int line) { return Origins{image.offset(0, line / c) + line % c, out.offset(0, line / c) + line % c}; });
  return out;
}

Image resized_down(const Image& image, int height, PillowFilter f) {
  Image out = blank_image(image.width, height, image.channels);
  const std::size_t row = std::size_t(image.width) * image.channels;
  pass(image.pixels.data(), out.pixels.data(), all_taps(f, image.height, height), int(row), row, row,
       [](int line) { return Origins{std::size_t(line), std::size_t(line)}; });
  return out;
}

}  // namespace

Image pillow_resize(const Image& image, int width, int height, PillowFilter filter) {
  if (image.empty() || width < 1 || height < 1) {
    throw ShapeError(fmt::format("pillow_resize: {}x{} to {}x{}: sizes must be positive", image.width, image.height, width, height));
  }
  Image out = image.width == width ? image : resized_across(image, width, filter);
  return out.height == height ? out : resized_down(out, height, filter);
}

Image center_crop(const Image& image, int size) {
  if (image.empty() || size < 1) throw ShapeError(fmt::format("center_crop: {}x{} to {}", image.width, image.height, size));
  Image at = image;
  while (std::min(at.width, at.height) >= 2 * size) at = pillow_resize(at, at.width / 2, at.height / 2, PillowFilter::box);
  const double scale = double(size) / std::min(at.width, at.height);
  // Python's round: halves to even, as nearbyint in the default rounding mode.
  at = pillow_resize(at, int(std::nearbyint(at.width * scale)), int(std::nearbyint(at.height * scale)), PillowFilter::bicubic);
  Image out = blank_image(size, size, at.channels);
  const int left = (at.width - size) / 2, top = (at.height - size) / 2;
  for (int y = 0; y < size; ++y) std::copy_n(at.at(left, top + y), std::size_t(size) * at.channels, out.at(0, y));
  return out;
}

}  // namespace fm
