#include "autodiff/rules/softmax.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/fused.h"
#include "autodiff/rules/row_op.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

// x less its row maximum, which is a constant: shifting a row changes neither softmax nor its derivatives.
Var shifted(const Var& x) { return x - max(x.value(), -1, true); }

}  // namespace

Var softmax(const Var& x) { return row_op({"softmax", softmax, softmax_push, softmax_push, true, softmax_reference}, x); }
Var log_softmax(const Var& x) { return row_op({"log_softmax", log_softmax, log_softmax_push, log_softmax_pull, true, log_softmax_reference}, x); }

Var softmax_reference(const Var& x_any) {
  const Var e = exp(shifted(wide(x_any, compute_type(x_any.value(), "softmax"))));
  return cast(e / sum(e, {-1}, true), x_any.dtype());
}

Var log_softmax_reference(const Var& x_any) {
  const Var z = shifted(wide(x_any, compute_type(x_any.value(), "log_softmax")));
  return cast(z - log(sum(exp(z), {-1}, true)), x_any.dtype());
}

Var cross_entropy(const Var& logits, const Tensor& targets) {
  if (use_reference({&logits})) return cross_entropy_reference(logits, targets);
  const Tensor x = logits.value().contiguous();
  CrossEntropySaved saved;
  const Tensor value = cross_entropy_value(x, targets, saved);
  const Var loss = record("cross_entropy", value, {&logits}, [=](const Tensor& g_loss, Cotangents& g) { g.add(0, cross_entropy_pull(x, saved, g_loss)); });
  if (!logits.has_tangent()) return loss;
  return loss.with_tangent(push([&]() -> Var { return cross_entropy_push(x, saved, logits.rank() > 1 ? logits.tangent().value() : logits.full_tangent()); }));
}

Var cross_entropy_reference(const Var& logits, const Tensor& targets) {
  const DType compute = compute_type(logits.value(), "cross_entropy");
  if (logits.rank() == 0) throw ShapeError("cross_entropy: logits of shape [] have no rows");
  const std::int64_t classes = logits.dim(-1);
  const Tensor p = is_floating(targets.dtype()) ? widen(targets, compute, "cross_entropy")
                                                : one_hot(targets.reshape({-1}), classes, compute).reshape(logits.shape());
  return cast(-sum(Var(p) * log_softmax_reference(wide(logits, compute)), {-1}), logits.dtype());
}

}  // namespace fm
