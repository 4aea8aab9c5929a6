#include "autodiff/recompute.h"

#include <memory>

#include "autodiff/jvp.h"

namespace fm {
namespace {

using Function = std::function<Var(const std::vector<Var>&)>;
using Tensors = std::vector<Tensor>;

// One call of recompute. In taped mode the nodes of y and of dy share it; in the other modes it has no tangents.
struct Call {
  Function f;
  Tensors inputs, tangents;
  Tensor gdy;                              // cotangent of dy, which dy's node leaves here for y's node
  bool value_unused = false;               // y has no cotangent: dy's node gave it zeros so that its pull runs
};

// Runs f again on a tape of its own and passes the cotangents on: to inputs 0 .. n-1 of the node, and to the tangents, which are its inputs
// n .. 2n-1.
void pull_again(Call& call, Tensor gy, Cotangents& g) {
  Tape inner;
  const std::size_t n = call.inputs.size();
  std::vector<Var> leaves, inputs;
  for (std::size_t i = 0; i < n; ++i) {
    leaves.push_back(inner.leaf_within(g, leaves, call.inputs[i]));
    inputs.push_back(leaves[i]);
  }
  for (std::size_t i = 0; i < call.tangents.size(); ++i) {
    leaves.push_back(inner.leaf_within(g, leaves, call.tangents[i]));
    if (leaves[n + i].defined()) inputs[i] = inputs[i].with_tangent(leaves[n + i]);
  }
  Var y;
  if (call.tangents.empty()) {
    y = call.f(inputs);
  } else {
    const detail::TangentScope scope(TangentMode::taped);
    y = call.f(inputs);
  }
  inputs.clear();
  std::vector<std::pair<Var, Tensor>> seeds;
  if (!call.value_unused) seeds.emplace_back(y.without_tangent(), std::move(gy));
  if (call.gdy.defined()) seeds.emplace_back(y.tangent(), std::move(call.gdy));
  y = Var();
  inner.backward_within(g, leaves, std::move(seeds));
}

// Always recorded, because f may use parameters.
Var record_always(const char* op, const Tensor& value, const std::vector<Var>& inputs, Pull pull) {
  std::vector<NodeRef> nodes;
  for (const Var& x : inputs) nodes.push_back(x.node());
  return {value, Tape::current()->record(op, value.shape(), std::move(nodes), std::move(pull))};
}

// The backward pass reaches dy's node first. Its pull stores the cotangent of dy for y's node, and makes sure that y's pull runs, which runs f again.
Var record_taped(const Function& f, const std::vector<Var>& inputs, const Var& y, const std::vector<const Parameter*>& used) {
  const auto call = std::make_shared<Call>();
  call->f = f;
  std::vector<Var> parents = inputs;
  for (const Var& x : inputs) call->inputs.push_back(x.value());
  for (const Var& x : inputs) {
    call->tangents.push_back(x.has_tangent() ? x.tangent().value() : Tensor());
    parents.push_back(x.has_tangent() ? x.tangent() : Var());
  }
  const Var value = record_always("recompute", y.value(), parents, [call](const Tensor&, Cotangents& g) { pull_again(*call, g.take_own(), g); });
  Tape::current()->will_add_to(value.node(), used);
  if (!y.has_tangent()) return value;
  const Var tangent = record_always("recompute", y.tangent().value(), {value}, [call, shape = y.shape()](const Tensor& gdy, Cotangents& g) {
    call->gdy = gdy;
    call->value_unused = !g.has(0);
    if (call->value_unused) g.add(0, Tensor::zeros(shape, gdy.dtype(), gdy.device()));
  });
  return value.with_tangent(tangent);
}

}  // namespace

Var recompute(Function f, const std::vector<Var>& inputs) {
  if (!Tape::current()) return f(inputs);
  const ParametersUsed used;
  const Var y = [&] {
    const PauseTape pause;
    return f(inputs);
  }();
  bool any = false;
  for (const Var& x : inputs) any = any || x.has_tangent();
  if (any && tangent_mode() == TangentMode::taped) return record_taped(f, inputs, y, used.list());
  const auto call = std::make_shared<Call>();
  call->f = std::move(f);
  for (const Var& x : inputs) call->inputs.push_back(x.value());
  const Var value = record_always("recompute", y.value(), inputs, [call](const Tensor&, Cotangents& g) { pull_again(*call, g.take_own(), g); });
  Tape::current()->will_add_to(value.node(), used.list());
  return y.has_tangent() ? value.with_tangent(y.tangent()) : value;
}

}  // namespace fm
