#include "flowmap/metrics/image_similarity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "flowmap/metrics/frechet.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t reach = 5, taps = 2 * reach + 1;
constexpr int moments = 5;  // x, y, x^2, y^2, x y

const std::array<double, taps>& window() {
  static const std::array<double, taps> weights = [] {
    std::array<double, taps> w{};
    double total = 0;
    for (std::int64_t i = 0; i < taps; ++i)
      total += w[static_cast<std::size_t>(i)] = std::exp(-static_cast<double>((i - reach) * (i - reach)) / (2 * 1.5 * 1.5));
    for (double& v : w) v /= total;
    return w;
  }();
  return weights;
}

// Position i of a line of n values that is continued by reflection: 2 1 | 0 1 2 ...
std::int64_t reflected(std::int64_t i, std::int64_t n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

// The numbers of one channel, in f64.
std::vector<double> channel(const Tensor& x, std::int64_t index) {
  const std::int64_t size = x.dim(2) * x.dim(3);
  std::vector<double> out(static_cast<std::size_t>(size));
  if (x.dtype() == DType::u8)
    std::transform(x.data<std::uint8_t>() + index * size, x.data<std::uint8_t>() + (index + 1) * size, out.begin(),
                   [](std::uint8_t v) { return v / 255.0; });
  else
    std::copy_n(x.data<float>() + index * size, size, out.begin());
  return out;
}

// The five products of two rows, weighted along the row: out[k w + j], k < moments.
void filter_row(const double* x, const double* y, std::int64_t w, double* out) {
  std::vector<double> line(static_cast<std::size_t>(w + 2 * reach));
  for (int k = 0; k < moments; ++k) {
    for (std::int64_t j = -reach; j < w + reach; ++j) {
      const double a = x[reflected(j, w)], b = y[reflected(j, w)];
      line[static_cast<std::size_t>(j + reach)] = k == 0 ? a : k == 1 ? b : k == 2 ? a * a : k == 3 ? b * b : a * b;
    }
    std::fill_n(out + k * w, w, 0.0);
    for (std::int64_t t = 0; t < taps; ++t) {
      const double weight = window()[static_cast<std::size_t>(t)];
      for (std::int64_t j = 0; j < w; ++j) out[k * w + j] += weight * line[static_cast<std::size_t>(j + t)];
    }
  }
}

double similarity(double mx, double my, double xx, double yy, double xy) {
  constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const double sx = std::max(0.0, xx - mx * mx), sy = std::max(0.0, yy - my * my), sxy = xy - mx * my;
  return (2 * mx * my + c1) * (2 * sxy + c2) / ((mx * mx + my * my + c1) * (sx + sy + c2));
}

double ssim_of_channel(const std::vector<double>& x, const std::vector<double>& y, std::int64_t h, std::int64_t w, std::int64_t border) {
  std::vector<double> rows(static_cast<std::size_t>(h * moments * w)), sums(static_cast<std::size_t>(moments * w));
  for (std::int64_t i = 0; i < h; ++i) filter_row(x.data() + i * w, y.data() + i * w, w, rows.data() + i * moments * w);
  double total = 0;
  for (std::int64_t i = border; i < h - border; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::int64_t t = 0; t < taps; ++t) {
      const double* row = rows.data() + reflected(i + t - reach, h) * moments * w;
      const double weight = window()[static_cast<std::size_t>(t)];
      for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += weight * row[j];
    }
    const double* s = sums.data();
    for (std::int64_t j = border; j < w - border; ++j) total += similarity(s[j], s[w + j], s[2 * w + j], s[3 * w + j], s[4 * w + j]);
  }
  return total / static_cast<double>((h - 2 * border) * (w - 2 * border));
}

Tensor usable(const char* metric, const Tensor& x) {
  if (x.dtype() != DType::u8 && x.dtype() != DType::f32)
    throw DTypeError(std::string(metric) + ": images are " + name_of(x.dtype()) + ", not u8 or f32");
  if (x.dtype() == DType::f32)
    if (const std::int64_t image = first_row_not_finite(x); image >= 0)
      throw Error(std::string(metric) + ": image " + std::to_string(image) + " is not finite");
  return x.to(Device{}).contiguous();
}

// Means over the channels of each image of f(channel of x, channel of y).
template <class F>
std::vector<double> mean_over_channels(const char* metric, const Tensor& x, const Tensor& y, std::int64_t least, std::int64_t cost,
                                       const F& f) {
  if (x.rank() != 4 || x.shape() != y.shape() || x.numel() == 0 || std::min(x.dim(2), x.dim(3)) < least)
    throw ShapeError(std::string(metric) + ": images " + to_string(x.shape()) + " and " + to_string(y.shape()) +
                     ": both need the same shape (n, C, H, W) with H and W of " + std::to_string(least) + " or more");
  const Tensor a = usable(metric, x), b = usable(metric, y);
  const std::int64_t n = x.dim(0), c = x.dim(1);
  std::vector<double> of_channels(static_cast<std::size_t>(n * c));
  parallel_for(n * c, x.dim(2) * x.dim(3) * cost,
               [&](std::int64_t i) { of_channels[static_cast<std::size_t>(i)] = f(channel(a, i), channel(b, i)); });
  std::vector<double> out(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n * c; ++i)
    out[static_cast<std::size_t>(i / c)] += of_channels[static_cast<std::size_t>(i)] / static_cast<double>(c);
  return out;
}

}  // namespace

std::vector<double> psnr(const Tensor& x, const Tensor& y) {
  std::vector<double> out = mean_over_channels("psnr", x, y, 1, 4, [](const std::vector<double>& a, const std::vector<double>& b) {
    double squares = 0;
    for (std::size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
    return squares / static_cast<double>(a.size());
  });
  for (double& value : out) value = -10 * std::log10(std::max(value, 1e-10));
  return out;
}

std::vector<double> ssim(const Tensor& x, const Tensor& y, SsimBorder border) {
  const std::int64_t left_out = border == SsimBorder::full ? 0 : reach, least = border == SsimBorder::full ? reach + 1 : taps;
  return mean_over_channels("ssim", x, y, least, 2 * moments * taps, [&](const std::vector<double>& a, const std::vector<double>& b) {
    return ssim_of_channel(a, b, x.dim(2), x.dim(3), left_out);
  });
}

}  // namespace fm
