// Linear: y = x W^T + b.
#pragma once

#include "autodiff/rules/matmul.h"
#include "autodiff/rules/recomputed.h"
#include "nn/init.h"
#include "nn/module.h"

namespace fm {

// Returns the parameter as an operand, or an undefined Var if the layer does not have it.
inline Var operand(const Parameter& p) { return p.value.defined() ? Var(p) : Var(); }

struct Linear {
  Parameter weight, bias;                       // (out, in), (out)

  Linear() = default;
  Linear(std::int64_t in, std::int64_t out, bool with_bias = true) : weight(make_parameter({out, in})) {
    if (with_bias) bias = make_parameter({out});
  }
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init& init) { init.kaiming(weight, bias); }

  Var operator()(const Var& x) const { return linear(x, weight, operand(bias)); }   // (..., in) -> (..., out)
  Var operator()(const Recomputed& x) const { return linear(x, weight, operand(bias)); }
  Var operator()(const Recomputed& x, DType result) const { return linear(x, weight, operand(bias), result); }
};

}  // namespace fm
