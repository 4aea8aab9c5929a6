#include "autodiff/rules/activation.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/fused.h"
#include "autodiff/rules/row_op.h"

namespace fm {

Var swiglu(const Var& x) { return row_op({"swiglu", swiglu, swiglu_push, swiglu_pull, false, swiglu_reference}, x); }

Var swiglu_reference(const Var& x_any) {
  const Var x = wide(x_any, compute_type(x_any.value(), "swiglu"));
  if (x.rank() == 0 || x.dim(-1) % 2 != 0) throw ShapeError("swiglu: x of shape " + to_string(x.shape()) + "; its last dimension must be even");
  const std::int64_t half = x.dim(-1) / 2;
  return cast(silu(slice(x, -1, 0, half)) * slice(x, -1, half, 2 * half), x_any.dtype());
}

Var gated_residual(const Var& x, const Var& h, const Var& gate) {
  if (use_reference({&x, &h, &gate})) return gated_residual_reference(x, h, gate);
  const Tensor vh = h.value().contiguous(), vgate = gate.value();
  const DType stream = x.dtype();
  // x itself is not kept: no derivative needs it.
  const Var y = record("gated_residual", gated_residual(x.value(), vh, vgate), {&x, &h, &gate}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, gy);
    if (!g.wants(1) && !g.wants(2)) return;
    const GatedBranch c = gated_pull({vh, vgate}, stream, gy, g.wants(1), g.wants(2));
    if (g.wants(1)) g.add(1, c.h);
    if (g.wants(2)) g.add(2, c.gate);
  });
  const bool rows = x.rank() > 1;
  TangentRows t;
  for (const Var* v : {&x, &h, &gate}) t.include(*v, rows, rows ? x.dim(0) : 1);
  if (!t.any()) return y;
  return y.with_tangent(push([&]() -> Var {
    const auto part = [&](const Tensor& v) { return rows ? head_rows(v, t.rows) : v; };
    return gated_push({part(vh), part(vgate)}, {value_of(t.tangent(x, rows)), value_of(t.tangent(h, rows)), value_of(t.tangent(gate, rows))},
                      stream);
  }));
}

Var gated_residual_reference(const Var& x_any, const Var& h, const Var& gate) {
  const DType compute = compute_type(x_any.value(), "gated_residual");
  if (x_any.rank() == 0 || h.shape() != x_any.shape())
    throw ShapeError("gated_residual: x " + to_string(x_any.shape()) + " and h " + to_string(h.shape()) + " must have the same shape, with at least one dimension");
  const Var x = wide(x_any, compute);
  Var g = wide(gate, compute);
  if (g.shape() != x.shape()) {
    Shape shape = Shape::filled(x.rank(), 1);
    shape[0] = x.dim(0);
    shape[x.rank() - 1] = x.shape().back();
    g = reshape(g, shape);
  }
  return cast(x + g * wide(h, compute), x_any.dtype());
}

}  // namespace fm
