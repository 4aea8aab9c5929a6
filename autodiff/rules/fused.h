// The common part of the rules of fused operations. Each such op has a hand-written value, push and pull, and a `..._reference`: the same function
// composed of primitive Var operations. In taped mode with a tangent present an op becomes its reference, so that second derivatives need no
// formulas of their own and are exact; otherwise push runs the fused kernel on the rows that the tangent covers.
#pragma once

#include <initializer_list>

#include "autodiff/rules/linear.h"
#include "autodiff/rules/rows.h"
#include "tensor/ops/widen.h"

namespace fm {

inline bool any_tangent(std::initializer_list<const Var*> inputs) {
  for (const Var* v : inputs)
    if (v->has_tangent()) return true;
  return false;
}

inline bool use_reference(std::initializer_list<const Var*> inputs) { return tangent_mode() == TangentMode::taped && any_tangent(inputs); }

// Converts an operand of a reference to the type that the fused op computes in, so that both round equally often.
inline Var wide(const Var& x, DType compute) { return x.defined() ? cast(x, compute) : x; }

inline Tensor value_of(const Var& x) { return x.defined() ? x.value() : Tensor(); }

}  // namespace fm
