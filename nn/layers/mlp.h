// Feed-forward layers of transformer blocks.
#pragma once

#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "nn/layers/linear.h"

namespace fm {

enum class Activation { gelu, gelu_tanh, silu };

inline Var activate(const Var& x, Activation a) {
  return a == Activation::gelu ? gelu(x) : a == Activation::gelu_tanh ? gelu_tanh(x) : silu(x);
}

struct Mlp {                                    // fc2(f(fc1(x)))
  Linear fc1, fc2;
  Activation activation = Activation::gelu;

  Mlp() = default;
  Mlp(std::int64_t width, std::int64_t hidden, Activation f = Activation::gelu) : fc1(width, hidden), fc2(hidden, width), activation(f) {}
  template <class V> void visit(V&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
  }
  Var operator()(const Var& x) const { return (*this)(x, x.dtype()); }
  Var operator()(const Recomputed& x) const { return fc2(activated(fc1(x))); }
  Var operator()(const Var& x, DType result) const {        // of type `result`: x's type, or f32 for a bf16 x
    return fc2(activated(fc1(x)), result);
  }

 private:
  Recomputed activated(const Var& h) const {
    return {[f = activation](const std::vector<Var>& v) { return activate(v[0], f); }, {h}};
  }
};

struct SwiGluFfn {                              // w3(silu(a) b), (a, b) the halves of w12(x)
  Linear w12, w3;

  SwiGluFfn() = default;
  SwiGluFfn(std::int64_t width, std::int64_t hidden) : w12(width, 2 * hidden), w3(hidden, width) {}
  template <class V> void visit(V&& v) {
    v("w12", w12);
    v("w3", w3);
  }
  template <class X> Var operator()(const X& x) const {     // a Var or a Recomputed
    return w3(Recomputed{[](const std::vector<Var>& v) { return swiglu(v[0]); }, {w12(x)}});
  }

  // Returns two thirds of the hidden width of a plain MLP, so that SwiGLU's three matrices cost as much as the two of the plain MLP. Rounded down
  // as in the published models.
  static std::int64_t hidden_width(std::int64_t width, double ratio) {
    return static_cast<std::int64_t>(2.0 / 3.0 * static_cast<double>(static_cast<std::int64_t>(ratio * static_cast<double>(width))));
  }
};

}  // namespace fm
