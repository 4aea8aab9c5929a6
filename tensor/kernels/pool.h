// Pooling over square windows of images, for one element of a result; the CPU's loops (ops/pool.cpp) and GPU kernels (cuda/pool.cu) share it.
//
// Output (i, j) has the window of rows i stride - padding ... + kernel - 1 and of the same columns, without the positions outside the image:
//
//   max    y[i, j] = the largest element of the window; index[i, j] = its first place h width + w, in row-major order
//   mean   y[i, j] = (sum of the window) / n, with n the number of positions inside the image or kernel^2
//
// Both transposes gather: gx[h, w] sums over the windows that contain (h, w), in row-major order of their outputs. So no two threads add to one element.
#pragma once

#include <cstdint>

#include "tensor/hd.h"

namespace fm::kernels {

struct PoolShape {
  std::int64_t planes, height, width;             // x (planes, height, width)
  std::int64_t kernel, stride, padding;           // kernel >= 1, stride >= 1, 0 <= padding <= kernel / 2: no window lies outside the image
  bool inside;                                    // means divide by the number of positions inside the image

  FM_HD std::int64_t out_height() const { return out_size(height); }
  FM_HD std::int64_t out_width() const { return out_size(width); }
  FM_HD std::int64_t out_size(std::int64_t in) const { return in + 2 * padding < kernel ? 0 : (in + 2 * padding - kernel) / stride + 1; }
};

// Positions [first, last) of one dimension.
struct PoolRange {
  std::int64_t first, last;
};

// The window of output o, along a dimension of size `in`.
FM_HD PoolRange pool_window(const PoolShape& s, std::int64_t o, std::int64_t in) {
  const std::int64_t first = o * s.stride - s.padding, last = first + s.kernel;
  return {first < 0 ? 0 : first, last < in ? last : in};
}

// The outputs of `out` whose windows contain position h.
FM_HD PoolRange pool_outputs(const PoolShape& s, std::int64_t h, std::int64_t out) {
  const std::int64_t above = h + s.padding - s.kernel + s.stride, last = (h + s.padding) / s.stride + 1;      // o stride > h + padding - kernel
  return {above < 0 ? 0 : above / s.stride, last < out ? last : out};
}

// The place of the largest element. As in PyTorch, a NaN counts as larger than all numbers, and the last of several is taken.
template <class T> FM_HD std::int64_t pool_argmax(const PoolShape& s, const T* x, PoolRange rows, PoolRange columns) {
  std::int64_t best = rows.first * s.width + columns.first;
  for (std::int64_t h = rows.first; h < rows.last; ++h)
    for (std::int64_t w = columns.first; w < columns.last; ++w) {
      const T value = x[h * s.width + w];
      if (value > x[best] || value != value) best = h * s.width + w;
    }
  return best;
}

template <class T> FM_HD T pool_count(const PoolShape& s, PoolRange rows, PoolRange columns) {
  return static_cast<T>(s.inside ? (rows.last - rows.first) * (columns.last - columns.first) : s.kernel * s.kernel);
}

template <class T> FM_HD T pool_mean(const PoolShape& s, const T* x, PoolRange rows, PoolRange columns) {
  T sum = T(0);
  for (std::int64_t h = rows.first; h < rows.last; ++h)
    for (std::int64_t w = columns.first; w < columns.last; ++w) sum += x[h * s.width + w];
  return sum / pool_count<T>(s, rows, columns);
}

// gx at place `at` from the outputs (rows, columns) whose windows contain it. gy has rows of `width` elements.
template <class T>
FM_HD T pool_max_pull(const T* gy, const std::int32_t* index, std::int64_t width, std::int64_t at, PoolRange rows, PoolRange columns) {
  T sum = T(0);
  for (std::int64_t i = rows.first; i < rows.last; ++i)
    for (std::int64_t j = columns.first; j < columns.last; ++j)
      if (index[i * width + j] == at) sum += gy[i * width + j];
  return sum;
}

template <class T> FM_HD T pool_mean_pull(const PoolShape& s, const T* gy, std::int64_t width, PoolRange rows, PoolRange columns) {
  T sum = T(0);
  for (std::int64_t i = rows.first; i < rows.last; ++i)
    for (std::int64_t j = columns.first; j < columns.last; ++j)
      sum += gy[i * width + j] / pool_count<T>(s, pool_window(s, i, s.height), pool_window(s, j, s.width));
  return sum;
}

// Arrays x, gx (planes, height, width) and y, gy, index (planes, out_height, out_width). Results overwrite the old contents.
template <class T> struct PoolFunctions {
  void (*max)(const PoolShape&, const T* x, T* y, std::int32_t* index);
  void (*take)(const PoolShape&, const T* x, const std::int32_t* index, T* y);          // y[o] = x[index[o]]: the push of max
  void (*max_pull)(const PoolShape&, const T* gy, const std::int32_t* index, T* gx);    // the transpose of take
  void (*mean)(const PoolShape&, const T* x, T* y);
  void (*mean_pull)(const PoolShape&, const T* gy, T* gx);
};

struct PoolKernels {
  PoolFunctions<float> f32;
  PoolFunctions<double> f64;
};

}  // namespace fm::kernels
