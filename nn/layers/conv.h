// Two-dimensional convolution of images (B,C,H,W).
#pragma once

#include "autodiff/rules/conv.h"
#include "nn/layers/linear.h"

namespace fm {

struct KernelSize {
  std::int64_t height, width;
};

struct Conv2d {
  Parameter weight, bias;                       // (out, in, height, width), (out) or without value
  ConvStep step;                                // stride, and rows and columns of zeros on each side

  Conv2d() = default;
  Conv2d(std::int64_t in, std::int64_t out, KernelSize kernel, ConvStep step_, bool with_bias = true)
      : weight(make_parameter({out, in, kernel.height, kernel.width})), bias(with_bias ? make_parameter({out}) : Parameter{}), step(step_) {}
  // A square kernel, with the same padding on all sides.
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, int stride, int padding) : Conv2d(in, out, KernelSize{kernel, kernel}, {stride, padding}) {}
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init& init) { init.kaiming(weight, bias); }

  // (B, in, H, W) -> (B, out, (H + 2 pad_h - height)/stride + 1, (W + 2 pad_w - width)/stride + 1)
  Var operator()(const Var& x) const { return conv2d(x, weight, operand(bias), step); }
  Var operator()(const Var& x, DType result) const { return conv2d(x, weight, operand(bias), step, result); }   // f32 for x in bf16
};

}  // namespace fm
