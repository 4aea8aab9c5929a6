// A cheap function in front of a product: its value is needed twice, by the product and for the weight's gradient. Keeping it costs memory
// as long as the tape lives; computing it again in the backward pass costs one sweep. For a normalized or a gated row the second is cheaper:
// in a block of DiT^DH they are a fifth of the kept memory, and less than one percent of the time.
//
//   Var y = linear(Recomputed{[&](const std::vector<Var>& v) { return swiglu(v[0]); }, {h}}, weight, bias);
//
// Gradients are bit for bit those of linear(f(inputs), weight, bias), tangents too. f is kept until the backward pass: objects captured by
// reference must live as long. It may use Parameters, but other Vars of the tape only as inputs.
#pragma once

#include <functional>
#include <vector>

#include "autodiff/var.h"

namespace fm {

struct Recomputed {
  std::function<Var(const std::vector<Var>&)> f;
  std::vector<Var> inputs;
  // Computes inputs[0] again in the backward pass, bit for bit, from tensors that are kept anyway: the input itself is then not kept. Optional.
  std::function<Tensor()> first_input = {};

  Var value() const { return f(inputs); }
};

Var linear(const Recomputed& x, const Var& weight, const Var& bias = {});                  // in the type of f's value
Var linear(const Recomputed& x, const Var& weight, const Var& bias, DType result);

}  // namespace fm
