// Converts images (B,C,H,W) to tokens (B,N,...) and back: N = (H/p)(W/p) patches of p x p pixels, row-major. Sequences (B,C,L) have N = L/p tokens.
#pragma once

#include "nn/layers/linear.h"

namespace fm {

// (B,C,H,W) -> (B,N,C p p), or (B,C,L) -> (B,N,C p), channels outermost in a token: the order of a convolution's weight. ShapeError unless p
// divides H and W, or L.
Var patchify(const Var& image, std::int64_t patch);
// (B,N,p p C) -> (B,C,rows p,columns p), channels innermost in a token: the order of the published decoders' output.
Var unpatchify(const Var& tokens, std::int64_t rows, std::int64_t columns, std::int64_t patch);
// (B,N,p C) -> (B,C,N p), likewise.
Var unpatchify(const Var& tokens, std::int64_t length, std::int64_t patch);

// A convolution whose stride equals its kernel size, computed as a matrix product: (B,C,H,W) -> (B,N,width), or (B,C,L) -> (B,N,width).
struct PatchEmbed {
  Parameter weight, bias;                       // (width, C, p, p) or (width, C, p); (width)

  PatchEmbed() = default;
  PatchEmbed(std::int64_t channels, std::int64_t patch, std::int64_t width, std::int64_t axes = 2)
      : weight(make_parameter(axes == 1 ? Shape{width, channels, patch} : Shape{width, channels, patch, patch})), bias(make_parameter({width})) {}
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init& init) { init.kaiming(weight, bias); }

  std::int64_t patch() const { return weight.value.dim(2); }
  // The result has the type `result`: the image's type, or f32 for a bf16 image.
  Var operator()(const Var& image, DType result) const { return project(patchify(image, patch()), result); }
  Var project(const Var& tokens, DType result) const;      // the tokens that patchify gives, (B,N,C p p) or (B,N,C p) -> (B,N,width)
};

}  // namespace fm
