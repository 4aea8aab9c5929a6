#include "tensor/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

double cubic(double x, double a) {                       // Keys' convolution kernel, support 2
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
float cubic_as_pytorch(float x) {                        // the same in f32, with A = -0.75 and PyTorch's order of operations, for 0 <= x <= 2
  constexpr float a = -0.75f;
  return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}
double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

bool antialias(Interpolation kind) { return kind == Interpolation::bilinear_antialias || kind == Interpolation::bicubic_antialias; }
bool is_cubic(Interpolation kind) { return kind == Interpolation::bicubic || kind == Interpolation::bicubic_antialias; }

void append_row(Resampling& r, const std::map<std::int64_t, double>& taps) {
  const std::int64_t first = taps.begin()->first, last = taps.rbegin()->first;
  r.first.push_back(first);
  for (std::int64_t j = first; j <= last; ++j) {
    const auto it = taps.find(j);
    r.weights.push_back(it == taps.end() ? 0 : it->second);
  }
  r.begin.push_back(static_cast<std::int64_t>(r.weights.size()));
}

// Interpolation between the nearest inputs. PyTorch computes positions in f32, which changes a weight near input 200 by up to 6e-6; these
// positions are in double.
std::map<std::int64_t, double> point_taps(std::int64_t o, std::int64_t in, double scale, Interpolation kind) {
  double position = scale * (static_cast<double>(o) + 0.5) - 0.5;
  if (kind == Interpolation::bilinear) position = std::max(position, 0.0);
  const auto at = static_cast<std::int64_t>(std::floor(position));
  const double t = position - static_cast<double>(at);
  const std::int64_t reach = kind == Interpolation::bicubic ? 2 : 1;
  std::map<std::int64_t, double> taps;
  for (std::int64_t k = 1 - reach; k <= reach; ++k) {
    const double distance = t - static_cast<double>(k), w = reach == 2 ? cubic(distance, -0.75) : triangle(distance);
    if (w != 0) taps[std::clamp<std::int64_t>(at + k, 0, in - 1)] += w;
  }
  return taps;
}

// The kernel widened to cover all inputs of an output.
std::map<std::int64_t, double> area_taps(std::int64_t o, std::int64_t in, double scale, Interpolation kind) {
  const double widening = std::max(scale, 1.0), support = (is_cubic(kind) ? 2 : 1) * widening,
               centre = scale * (static_cast<double>(o) + 0.5);
  const auto low = std::max(static_cast<std::int64_t>(centre - support + 0.5), std::int64_t{0});
  const auto high = std::min(static_cast<std::int64_t>(centre + support + 0.5), in);
  std::map<std::int64_t, double> taps;
  double total = 0;
  for (std::int64_t j = low; j < high; ++j) {
    const double x = (static_cast<double>(j) - centre + 0.5) / widening;
    total += taps[j] = is_cubic(kind) ? cubic(x, -0.5) : triangle(x);
  }
  for (auto& [j, w] : taps) w /= total;
  return taps;
}

// Computes one output row of `inner` neighbors: y = sum_j w_j x_j.
template <class T> void combine(const T* x, const double* w, std::int64_t taps, std::int64_t inner, T* y) {
  if (inner == 1) {
    T sum = 0;
    for (std::int64_t j = 0; j < taps; ++j) sum += static_cast<T>(w[j]) * x[j];
    *y = sum;
    return;
  }
  std::fill_n(y, inner, T(0));
  for (std::int64_t j = 0; j < taps; ++j) {
    const T weight = static_cast<T>(w[j]);
    const T* row = x + j * inner;
#pragma omp simd
    for (std::int64_t i = 0; i < inner; ++i) y[i] += weight * row[i];
  }
}

}  // namespace

Resampling resampling(std::int64_t in, std::int64_t out, Interpolation kind) {
  if (in < 1 || out < 1)
    throw ShapeError("resize: cannot resize from " + std::to_string(in) + " to " + std::to_string(out) +
                     " elements: both numbers must be 1 or more");
  Resampling r{in, out, {}, {0}, {}};
  for (std::int64_t o = 0; o < out; ++o) {
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    append_row(r, antialias(kind) ? area_taps(o, in, scale, kind) : point_taps(o, in, scale, kind));
  }
  return r;
}

Resampling scaled_bicubic(std::int64_t in, std::int64_t out, double scale) {
  if (in < 1 || out < 1 || !(scale > 0))
    throw ShapeError("resize: cannot resize from " + std::to_string(in) + " to " + std::to_string(out) + " elements by the scale " + std::to_string(scale) +
                     ": all must be positive");
  Resampling r{in, out, {}, {0}, {}};
  const auto step = static_cast<float>(1 / scale);
  for (std::int64_t o = 0; o < out; ++o) {
    const float position = step * (static_cast<float>(o) + 0.5f) - 0.5f, below = std::floor(position);
    std::map<std::int64_t, double> taps;
    for (std::int64_t k = -1; k <= 2; ++k)
      taps[std::clamp<std::int64_t>(static_cast<std::int64_t>(below) + k, 0, in - 1)] += cubic_as_pytorch(std::abs(position - below - static_cast<float>(k)));
    append_row(r, taps);
  }
  return r;
}

double Resampling::weight(std::int64_t o, std::int64_t j) const {
  const std::int64_t at = begin[static_cast<std::size_t>(o)] + j - first[static_cast<std::size_t>(o)];
  const bool inside = j >= first[static_cast<std::size_t>(o)] && at < begin[static_cast<std::size_t>(o) + 1];
  return inside ? weights[static_cast<std::size_t>(at)] : 0;
}

// The outputs that use an input are neighbors too, so the transpose has the same form. An output between them that does not use the input gets
// weight 0.
Resampling Resampling::transposed() const {
  std::vector<std::map<std::int64_t, double>> columns(static_cast<std::size_t>(in));
  for (std::int64_t o = 0; o < out; ++o) {
    const auto row = static_cast<std::size_t>(o);
    for (std::int64_t k = begin[row]; k < begin[row + 1]; ++k)
      columns[static_cast<std::size_t>(first[row] + k - begin[row])][o] = weights[static_cast<std::size_t>(k)];
  }
  Resampling r{out, in, {}, {0}, {}};
  for (const auto& taps : columns) append_row(r, taps.empty() ? std::map<std::int64_t, double>{{0, 0.0}} : taps);
  return r;
}

namespace {

void on_gpu(const Tensor& x, const Tensor& y, const Resampling& r, std::int64_t outer, std::int64_t inner) {
  const Device device = x.device();
  const auto upload = [&]<class T>(const std::vector<T>& v) { return Tensor::from(v, {static_cast<std::int64_t>(v.size())}).to(device); };
  const Tensor first = upload(r.first), begin = upload(r.begin), weights = upload(r.weights);
  const auto run = [&]<class T>(T, auto kernel) {
    kernel({outer, r.in, r.out, inner, first.data<std::int64_t>(), begin.data<std::int64_t>(), weights.data<double>(), x.data<T>(), y.data<T>()});
  };
  if (x.dtype() == DType::f64) run(double{}, cuda::on(device).resample.f64);
  else run(float{}, cuda::on(device).resample.f32);
}

}  // namespace

Tensor resample(const Tensor& x, int dim, const Resampling& r) {
  const int d = normalise_dim(dim, x.rank(), "resample");
  if (x.dim(d) != r.in)
    throw ShapeError("resample: dimension " + std::to_string(d) + " of " + to_string(x.shape()) +
                     " does not have the size for which the weights are made, " + std::to_string(r.in));
  if (x.dtype() == DType::bf16) return resample(x.to(DType::f32), dim, r).to(DType::bf16);
  if (x.dtype() != DType::f32 && x.dtype() != DType::f64)
    throw DTypeError("resample: elements of type " + std::string(name_of(x.dtype())) + " are not supported; convert to f32 first");
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(x.shape().with(d, r.out), x.dtype(), x.device());
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < d; ++i) outer *= x.dim(i);
  for (int i = d + 1; i < x.rank(); ++i) inner *= x.dim(i);
  if (x.device().is_cuda()) {
    on_gpu(in, y, r, outer, inner);
    return y;
  }
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const T* from = in.data<T>();
    T* to = y.data<T>();
    const auto rows = [&](std::int64_t a) {
      for (std::int64_t o = 0; o < r.out; ++o) {
        const auto row = static_cast<std::size_t>(o);
        combine(from + (a * r.in + r.first[row]) * inner, r.weights.data() + r.begin[row], r.begin[row + 1] - r.begin[row], inner,
                to + (a * r.out + o) * inner);
      }
    };
    parallel_for(outer, static_cast<std::int64_t>(r.weights.size()) * inner, rows);
  };
  if (x.dtype() == DType::f32) run(float{});
  else run(double{});
  return y;
}

Tensor resize(const Tensor& x, std::int64_t height, std::int64_t width, Interpolation kind) {
  if (x.rank() < 2) throw ShapeError("resize: " + to_string(x.shape()) + " has no height and width");
  Tensor y = x;
  if (x.dim(-2) != height) y = resample(y, -2, resampling(x.dim(-2), height, kind));
  if (x.dim(-1) != width) y = resample(y, -1, resampling(x.dim(-1), width, kind));
  return y;
}

}  // namespace fm
