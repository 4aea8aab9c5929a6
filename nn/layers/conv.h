// Two-dimensional convolution of images (B,C,H,W).
#pragma once

#include "autodiff/rules/conv.h"
#include "nn/init.h"
#include "nn/module.h"

namespace fm {

struct Conv2d {
  Parameter weight, bias;                       // (out, in, kernel, kernel), (out)
  int stride = 1, padding = 0;                  // padding: rows and columns of zeros on each side

  Conv2d() = default;
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, int stride_, int padding_)
      : weight(make_parameter({out, in, kernel, kernel})), bias(make_parameter({out})), stride(stride_), padding(padding_) {}
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init& init) { init.kaiming(weight, bias); }

  // (B, in, H, W) -> (B, out, (H + 2 padding - kernel)/stride + 1, ...)
  Var operator()(const Var& x) const { return conv2d(x, weight, bias, stride, padding); }
  Var operator()(const Var& x, DType result) const { return conv2d(x, weight, bias, stride, padding, result); }   // f32 for x in bf16
};

}  // namespace fm
