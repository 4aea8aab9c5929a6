#include "autodiff/rules/recomputed.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"

namespace fm {
namespace {

// Runs f again on a tape of its own, and pulls the cotangent of its value back through that tape.
struct Again {
  Tape tape;
  std::vector<Var> leaves;
  Var h;

  Again(const Recomputed& x, const std::vector<Tensor>& inputs, const Cotangents& g) {
    for (const Tensor& v : inputs) leaves.push_back(tape.leaf_within(g, leaves, v));
    h = x.f(leaves);
  }
  void pull(Tensor gh, Cotangents& g) {
    std::vector<std::pair<Var, Tensor>> seeds;
    seeds.emplace_back(std::exchange(h, Var()), std::move(gh));
    tape.backward_within(g, leaves, std::move(seeds));
  }
};

// `result` is the type of the product; without it the product has the type of f's value.
Var product(const Recomputed& x, const Var& weight, const Var& bias, std::optional<DType> result) {
  if (x.inputs.empty()) throw AutodiffError("linear: the Recomputed has no inputs; give its function at least one");
  const auto compute = [&] {
    const Var value = x.value();
    return linear(value, weight, bias, result.value_or(value.dtype()));
  };
  const bool any = std::any_of(x.inputs.begin(), x.inputs.end(), [](const Var& v) { return v.has_tangent(); });
  if (!Tape::current() || weight.has_tangent() || bias.has_tangent() || (any && tangent_mode() == TangentMode::taped))
    return compute();
  const ParametersUsed used;
  const Var y = [&] {
    const PauseTape pause;
    return compute();
  }();
  std::vector<Tensor> inputs;
  std::vector<NodeRef> nodes;
  for (const Var& v : x.inputs) inputs.push_back(v.value()), nodes.push_back(v.node());
  const std::size_t w = nodes.size(), b = w + 1;
  nodes.push_back(weight.node());
  nodes.push_back(bias.node());
  if (x.first_input) inputs[0] = Tensor();
  const Recomputed kept{x.f, {}, x.first_input};
  const Pull pull = [=, vw = weight.value(), vb = bias.value()](const Tensor& gy_any, Cotangents& g) {
    if (g.wants(b)) g.add(b, sum(gy_any.rows().to(vb.dtype()), {0}));
    std::vector<Tensor> values = inputs;
    if (kept.first_input) values[0] = kept.first_input();
    Again again(kept, values, g);
    const Tensor gy = gy_any.to(again.h.dtype());
    if (g.wants(w)) add_product(g, w, gy.rows().transpose(0, 1), again.h.value().rows(), vw.dtype());
    if (again.h.on_tape()) again.pull(rows_times(gy, vw), g);
  };
  const Var value(y.value(), Tape::current()->record("linear", y.shape(), std::move(nodes), pull));
  Tape::current()->will_add_to(value.node(), used.list());
  return y.has_tangent() ? value.with_tangent(y.tangent()) : value;
}

}  // namespace

Var linear(const Recomputed& x, const Var& weight, const Var& bias) { return product(x, weight, bias, std::nullopt); }
Var linear(const Recomputed& x, const Var& weight, const Var& bias, DType result) { return product(x, weight, bias, result); }

}  // namespace fm
