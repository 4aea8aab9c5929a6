// The product linear(f(inputs)) of a cheap function f, whose value is computed again in the backward pass instead of kept. The product and the
// weight's gradient both need this value: keeping it costs memory until the backward pass, computing it again costs one sweep. For the
// normalized and gated rows in blocks of DiT^DH, recomputing saves a fifth of the kept memory for less than one percent of the time.
//
//   Var y = linear(Recomputed{[&](const std::vector<Var>& v) { return swiglu(v[0]); }, {h}}, weight, bias);
//
// Gradients and tangents are bit for bit those of linear(f(inputs), weight, bias). f is kept until the backward pass, so objects that it
// captures by reference must live as long. f may use Parameters; other Vars of the tape must be in `inputs`.
#pragma once

#include <functional>
#include <vector>

#include "autodiff/var.h"

namespace fm {

struct Recomputed {
  std::function<Var(const std::vector<Var>&)> f;
  std::vector<Var> inputs;
  // Optional: recomputes inputs[0] bit for bit in the backward pass, from tensors that are kept anyway, so that inputs[0] itself is not kept.
  std::function<Tensor()> first_input = {};

  Var value() const { return f(inputs); }
};

Var linear(const Recomputed& x, const Var& weight, const Var& bias = {});                  // in the type of f's value
Var linear(const Recomputed& x, const Var& weight, const Var& bias, DType result);

}  // namespace fm
