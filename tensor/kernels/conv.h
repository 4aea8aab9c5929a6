// Two-dimensional convolution (cross-correlation, as in every deep learning library) and its two transposes on raw pointers, NCHW:
//
//   y[s, o, i, j]   = bias[o] + sum over c, u, v of  w[o, c, u, v] x[s, c, i * stride_h - pad_h + u, j * stride_w - pad_w + v]
//   gx              = the transpose with respect to x applied to gy
//   gw[o, c, u, v]  = sum over s, i, j of  gy[s, o, i, j] x[s, c, i * stride_h - pad_h + u, j * stride_w - pad_w + v]
//
// with x = 0 outside the image. All three are matrix products (gemm.h) with the matrix of patches of x, which is built block by block. On the CPU
// f32 convolutions of 3x3 kernels with stride 1 use Winograd's algorithm (cpu/conv_winograd.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fm::kernels {

struct ConvShape {
  std::int64_t batch, in_channels, height, width;      // x (batch, in_channels, height, width)
  std::int64_t out_channels, kernel_h, kernel_w;       // w (out_channels, in_channels, kernel_h, kernel_w), kernel >= 1
  std::int64_t stride_h = 1, stride_w = 1;             // >= 1
  std::int64_t pad_h = 0, pad_w = 0;                   // rows and columns of zeros on each side

  // y (batch, out_channels, out_height(), out_width())
  std::int64_t out_height() const { return out_size(height + 2 * pad_h - kernel_h, stride_h); }
  std::int64_t out_width() const { return out_size(width + 2 * pad_w - kernel_w, stride_w); }

 private:
  static std::int64_t out_size(std::int64_t room, std::int64_t stride) { return room < 0 ? 0 : room / stride + 1; }
};

// Results overwrite the old contents, or are added to them with `accumulate`. Results do not depend on the number of threads. X and Y are the types of
// x and y in memory; weights and bias have the type T of the computation, in which all sums are.
template <class T, class X = T, class Y = X>
struct ConvFunctions {
  void (*forward)(const ConvShape&, const X* x, const T* w, const T* bias, Y* y, bool accumulate);     // bias may be null
  void (*grad_input)(const ConvShape&, const Y* gy, const T* w, X* gx, bool accumulate);
  void (*grad_weight)(const ConvShape&, const X* x, const Y* gy, T* gw, bool accumulate);
};

struct ConvKernels {
  ConvFunctions<float> f32;
  ConvFunctions<double> f64;
  ConvFunctions<float, bf16> half{};                 // of the CPU only
  ConvFunctions<float, bf16, float> half_to_f32{};   // of the CPU only
};

}  // namespace fm::kernels
