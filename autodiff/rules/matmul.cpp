#include "autodiff/rules/matmul.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/rows.h"

namespace fm {

void add_product(Cotangents& g, std::size_t input, const Tensor& a, const Tensor& b, DType type) {
  if (Tensor* sum = g.existing(input)) matmul_into(*sum, a, b);
  else g.add(input, matmul(a, b, type));
}

Tensor rows_times(const Tensor& x, const Tensor& m) { return x.rank() == 1 ? matmul(x.unsqueeze(0), m).squeeze(0) : matmul(x, m); }

Var matmul(const Var& a, const Var& b) {                    // y = a b:  ga = gy b^T,  gb = a^T gy, summed back over broadcast dimensions
  const Tensor va = a.value(), vb = b.value();
  const Var y = record("matmul", matmul(va, vb), {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, sum_to(matmul(gy, vb.transpose(-1, -2)), va.shape()));
    if (!g.wants(1)) return;
    if (vb.rank() == 2) add_product(g, 1, va.rows().transpose(0, 1), gy.rows(), vb.dtype());
    else g.add(1, sum_to(matmul(va.transpose(-1, -2), gy, vb.dtype()), vb.shape()));
  });
  // True if dimension 0 of y is dimension 0 of a (of b): a batch dimension, or for a also its rows when b is one matrix.
  const bool ra = a.rank() == y.rank() && a.dim(0) == y.dim(0) && (a.rank() > 2 || b.rank() == 2);
  const bool rb = b.rank() == y.rank() && b.rank() > 2 && b.dim(0) == y.dim(0);
  TangentRows t;
  t.include(a, ra, y.dim(0));
  t.include(b, rb, y.dim(0));
  if (!t.any()) return y;
  return y.with_tangent(push([&] {
    const Var da = t.tangent(a, ra), db = t.tangent(b, rb);
    return sum_of(da.defined() ? matmul(da, t.value(b, rb)) : Var(), db.defined() ? matmul(t.value(a, ra), db) : Var());
  }));
}

Var linear(const Var& x, const Var& weight, const Var& bias) { return linear(x, weight, bias, x.dtype()); }

Var linear(const Var& x, const Var& weight, const Var& bias, DType result) {  // y = x W^T + b:  gx = gy W,  gW = gy^T x,  gb = sum of gy's rows
  const Tensor vx = x.value(), vw = weight.value(), vb = bias.value();
  const Var y = record("linear", linear(vx, vw, vb, result), {&x, &weight, &bias}, [=](const Tensor& gy_any, Cotangents& g) {
    const Tensor gy = gy_any.to(vx.dtype());
    if (g.wants(0)) g.add(0, rows_times(gy, vw));
    if (g.wants(1)) add_product(g, 1, gy.rows().transpose(0, 1), vx.rows(), vw.dtype());
    if (g.wants(2)) g.add(2, sum(gy_any.rows().to(vb.dtype()), {0}));
  });
  const bool rows = x.rank() > 1;
  TangentRows t;
  const std::int64_t all = rows ? x.dim(0) : 1;
  t.include(x, rows, all);
  t.include(weight, false, all);
  t.include(bias, false, all);
  if (!t.any()) return y;
  return y.with_tangent(push([&] {
    const Var dx = t.tangent(x, rows), dw = t.tangent(weight, false), db = t.tangent(bias, false);
    const Var from_x = dx.defined() ? linear(dx, weight.without_tangent(), db, result) : Var();
    const Var from_w = dw.defined() ? linear(t.value(x, rows), dw, dx.defined() ? Var() : db, result) : Var();
    if (dx.defined() || dw.defined()) return sum_of(from_x, from_w);
    return expand(cast(db, result), y.rank() > 1 ? y.shape().with(0, t.rows) : y.shape());
  }));
}

}  // namespace fm
