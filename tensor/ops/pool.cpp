#include "tensor/ops/pool.h"

#include <limits>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/kernels/pool.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/widen.h"
#include "tensor/parallel.h"
#include "tensor/profile.h"

namespace fm {
namespace {

using kernels::PoolRange;
using kernels::PoolShape;

PoolShape pool_shape(const char* name, const Shape& x, PoolWindow w, PoolCount count) {
  const std::string text = "kernel " + std::to_string(w.kernel) + ", stride " + std::to_string(w.stride) + ", padding " + std::to_string(w.padding);
  if (x.rank() != 4) throw ShapeError(std::string(name) + ": x of shape " + to_string(x) + " must be (B, C, H, W)");
  if (w.kernel < 1 || w.stride < 1 || w.padding < 0 || w.padding > w.kernel / 2)
    throw ShapeError(std::string(name) + ": " + text + ": kernel and stride must be 1 or more, the padding between 0 and half of the kernel");
  if (x[2] < 1 || x[3] < 1 || x[2] + 2 * w.padding < w.kernel || x[3] + 2 * w.padding < w.kernel)
    throw ShapeError(std::string(name) + ": a window of " + text + " does not fit into x of shape " + to_string(x));
  return {x[0] * x[1], x[2], x[3], w.kernel, w.stride, w.padding, count == PoolCount::inside};
}

Shape pooled_shape(const Shape& x, const PoolShape& s) { return {x[0], x[1], s.out_height(), s.out_width()}; }

void check_pooled(const char* name, const Tensor& y, const Shape& x, const PoolShape& s) {
  if (y.shape() != pooled_shape(x, s))
    throw ShapeError(std::string(name) + ": a tensor of shape " + to_string(y.shape()) + " does not fit results of shape " + to_string(pooled_shape(x, s)));
}

// Calls f(plane, row) for each row of `planes` images, in parallel.
template <class F> void each_pool_row(std::int64_t planes, std::int64_t rows, std::int64_t cost, const F& f) {
  parallel_for(planes * rows, cost, [&](std::int64_t i) { f(i / rows, i % rows); });
}

// For each position of a dimension, the outputs whose windows contain it. Computed once, because it takes divisions.
std::vector<PoolRange> outputs_of(const PoolShape& s, std::int64_t in, std::int64_t out) {
  std::vector<PoolRange> ranges;
  for (std::int64_t h = 0; h < in; ++h) ranges.push_back(pool_outputs(s, h, out));
  return ranges;
}

// Writes y[plane, i, j] = f(image, y's element, window rows, window columns).
template <class T, class F> void pool_forward(const PoolShape& s, const T* x, const F& f) {
  const std::int64_t height = s.out_height(), width = s.out_width();
  each_pool_row(s.planes, height, width * s.kernel * s.kernel, [&](std::int64_t plane, std::int64_t i) {
    const T* image = x + plane * s.height * s.width;
    const PoolRange rows = pool_window(s, i, s.height);
    for (std::int64_t j = 0; j < width; ++j) f(image, (plane * height + i) * width + j, rows, pool_window(s, j, s.width));
  });
}

// Writes gx[plane, h, w] = f(first output of the plane, h W + w, rows and columns of the outputs whose windows contain it).
template <class T, class F> void pool_backward(const PoolShape& s, T* gx, const F& f) {
  const std::int64_t height = s.out_height(), width = s.out_width();
  const std::vector<PoolRange> rows = outputs_of(s, s.height, height), columns = outputs_of(s, s.width, width);
  const std::int64_t reach = (s.kernel + s.stride - 1) / s.stride;
  each_pool_row(s.planes, s.height, s.width * reach * reach, [&](std::int64_t plane, std::int64_t h) {
    T* to = gx + (plane * s.height + h) * s.width;
    for (std::int64_t w = 0; w < s.width; ++w)
      to[w] = f(plane * height * width, h * s.width + w, rows[static_cast<std::size_t>(h)], columns[static_cast<std::size_t>(w)]);
  });
}

template <class T> void max_on_cpu(const PoolShape& s, const T* x, T* y, std::int32_t* index) {
  pool_forward(s, x, [=, &s](const T* image, std::int64_t to, PoolRange rows, PoolRange columns) {
    const std::int64_t at = pool_argmax(s, image, rows, columns);
    y[to] = image[at];
    index[to] = static_cast<std::int32_t>(at);
  });
}

template <class T> void take_on_cpu(const PoolShape& s, const T* x, const std::int32_t* index, T* y) {
  const std::int64_t outputs = s.out_height() * s.out_width();
  parallel_for(s.planes, outputs, [&](std::int64_t plane) {
    for (std::int64_t o = plane * outputs; o < (plane + 1) * outputs; ++o) y[o] = x[plane * s.height * s.width + index[o]];
  });
}

template <class T> void max_pull_on_cpu(const PoolShape& s, const T* gy, const std::int32_t* index, T* gx) {
  const std::int64_t width = s.out_width();
  pool_backward(s, gx, [=](std::int64_t from, std::int64_t at, PoolRange rows, PoolRange columns) {
    return kernels::pool_max_pull(gy + from, index + from, width, at, rows, columns);
  });
}

template <class T> void mean_on_cpu(const PoolShape& s, const T* x, T* y) {
  pool_forward(s, x, [=, &s](const T* image, std::int64_t to, PoolRange rows, PoolRange columns) { y[to] = pool_mean(s, image, rows, columns); });
}

template <class T> void mean_pull_on_cpu(const PoolShape& s, const T* gy, T* gx) {
  const std::int64_t width = s.out_width();
  pool_backward(s, gx, [=, &s](std::int64_t from, std::int64_t, PoolRange rows, PoolRange columns) {
    return kernels::pool_mean_pull(s, gy + from, width, rows, columns);
  });
}

template <class T> constexpr kernels::PoolFunctions<T> pool_on_cpu{max_on_cpu<T>, take_on_cpu<T>, max_pull_on_cpu<T>, mean_on_cpu<T>, mean_pull_on_cpu<T>};

// Calls f(T{}, functions) with the kernels of the device for elements of type f32 or f64.
template <class F> void with_pool(Device device, DType type, const F& f) {
  if (type == DType::f64) f(double{}, device.is_cuda() ? cuda::on(device).pool.f64 : pool_on_cpu<double>);
  else f(float{}, device.is_cuda() ? cuda::on(device).pool.f32 : pool_on_cpu<float>);
}

void check_index(const char* name, const Tensor& index) {
  if (!index.defined() || index.dtype() != DType::i32) throw DTypeError(std::string(name) + ": the index must be the i32 tensor that max_pool2d_indexed returned");
}

}  // namespace

MaxPooled max_pool2d_indexed(const Tensor& x, PoolWindow window) {
  const char* const name = "max_pool2d";
  const OpName scope(name);
  const DType compute = compute_type(x, name);
  const PoolShape s = pool_shape(name, x.shape(), window, PoolCount::inside);
  if (s.height > std::numeric_limits<std::int32_t>::max() / s.width)
    throw ShapeError(std::string(name) + ": images of shape " + to_string(x.shape()) + " have more than 2^31 - 1 pixels, which an i32 index cannot count: pool smaller tiles");
  const Tensor in = x.to(compute).contiguous();
  const Shape shape = pooled_shape(x.shape(), s);
  const MaxPooled y{Tensor::empty(shape, compute, x.device()), Tensor::empty(shape, DType::i32, x.device())};
  count_traffic({&in, &y.value, &y.index});
  with_pool(x.device(), compute, [&]<class T>(T, const auto& k) { k.max(s, in.data<T>(), y.value.data<T>(), y.index.data<std::int32_t>()); });
  return {y.value.to(x.dtype()), y.index};
}

Tensor max_pool2d(const Tensor& x, PoolWindow window) { return max_pool2d_indexed(x, window).value; }

Tensor max_pool2d_push(const Tensor& x, const Tensor& index, PoolWindow window) {
  const char* const name = "max_pool2d";
  const OpName scope(name);
  const DType compute = compute_type(x, name);
  const PoolShape s = pool_shape(name, x.shape(), window, PoolCount::inside);
  check_index(name, index);
  check_pooled(name, index, x.shape(), s);
  const Device device = common_device(name, {&x, &index});
  const Tensor in = x.to(compute).contiguous(), at = index.contiguous(), y = Tensor::empty(index.shape(), compute, device);
  count_traffic({&in, &at, &y});
  with_pool(device, compute, [&]<class T>(T, const auto& k) { k.take(s, in.data<T>(), at.data<std::int32_t>(), y.data<T>()); });
  return y.to(x.dtype());
}

Tensor max_pool2d_pull(const Tensor& gy, const Tensor& index, const Shape& x_shape, PoolWindow window) {
  const char* const name = "max_pool2d";
  const OpName scope(name);
  const DType compute = compute_type(gy, name);
  const PoolShape s = pool_shape(name, x_shape, window, PoolCount::inside);
  check_index(name, index);
  check_pooled(name, index, x_shape, s);
  check_pooled(name, gy, x_shape, s);
  const Device device = common_device(name, {&gy, &index});
  const Tensor g = gy.to(compute).contiguous(), at = index.contiguous(), gx = Tensor::empty(x_shape, compute, device);
  count_traffic({&g, &at, &gx});
  with_pool(device, compute, [&]<class T>(T, const auto& k) { k.max_pull(s, g.data<T>(), at.data<std::int32_t>(), gx.data<T>()); });
  return gx.to(gy.dtype());
}

Tensor avg_pool2d(const Tensor& x, PoolWindow window, PoolCount count) {
  const char* const name = "avg_pool2d";
  const OpName scope(name);
  const DType compute = compute_type(x, name);
  const PoolShape s = pool_shape(name, x.shape(), window, count);
  const Tensor in = x.to(compute).contiguous(), y = Tensor::empty(pooled_shape(x.shape(), s), compute, x.device());
  count_traffic({&in, &y});
  with_pool(x.device(), compute, [&]<class T>(T, const auto& k) { k.mean(s, in.data<T>(), y.data<T>()); });
  return y.to(x.dtype());
}

Tensor avg_pool2d_pull(const Tensor& gy, const Shape& x_shape, PoolWindow window, PoolCount count) {
  const char* const name = "avg_pool2d";
  const OpName scope(name);
  const DType compute = compute_type(gy, name);
  const PoolShape s = pool_shape(name, x_shape, window, count);
  check_pooled(name, gy, x_shape, s);
  const Tensor g = gy.to(compute).contiguous(), gx = Tensor::empty(x_shape, compute, gy.device());
  count_traffic({&g, &gx});
  with_pool(gy.device(), compute, [&]<class T>(T, const auto& k) { k.mean_pull(s, g.data<T>(), gx.data<T>()); });
  return gx.to(gy.dtype());
}

}  // namespace fm
