#include "autodiff/rules/row_op.h"

#include "autodiff/rules/fused.h"

namespace fm {

Var row_op(const RowOp& op, const Var& x) {
  if (use_reference({&x})) return op.reference(x);
  const Tensor value = op.value(x.value()), saved = op.saves_output ? value : x.value();
  const Var y = record(op.name, value, {&x}, [saved, pull = op.pull](const Tensor& gy, Cotangents& g) { g.add(0, pull(saved, gy)); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&]() -> Var {
    const Tensor dx = x.rank() > 1 ? x.tangent().value() : x.full_tangent();      // a vector's dimension 0 is its row
    return op.push(head_rows(saved, dx.dim(0)), dx);
  }));
}

}  // namespace fm
