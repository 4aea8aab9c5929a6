#include "autodiff/rules/conv.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/rows.h"

namespace fm {
namespace {

Var push_conv(const Var& x, const Var& weight, const Var& bias, const Var& y, ConvStep step) {
  const DType result = y.dtype();
  TangentRows t;
  t.include(x, true, y.dim(0));
  t.include(weight, false, y.dim(0));
  t.include(bias, false, y.dim(0));
  if (!t.any()) return y;
  return y.with_tangent(push([&] {
    const Var dx = t.tangent(x, true), dw = t.tangent(weight, false), db = t.tangent(bias, false);
    Var dy;
    if (dx.defined()) dy = conv2d(dx, weight.without_tangent(), db, step, result);
    if (dw.defined()) {
      const Var part = conv2d(t.value(x, true), dw, dx.defined() ? Var() : db, step, result);
      dy = dy.defined() ? dy + part : part;
    }
    if (!dy.defined()) dy = expand(reshape(cast(db, result), {1, db.numel(), 1, 1}), y.shape().with(0, t.rows));
    return dy;
  }));
}

}  // namespace

Var conv2d(const Var& x, const Var& weight, const Var& bias, ConvStep step) { return conv2d(x, weight, bias, step, x.dtype()); }

Var conv2d(const Var& x, const Var& weight, const Var& bias, ConvStep step, DType result) {
  const Tensor vw = weight.value(), vb = bias.value();
  const Tensor vx = weight.on_tape() ? x.value() : Tensor();       // only the gradient of the weight needs x: a frozen network does not keep it
  const Shape shape = x.shape();
  const DType type = x.dtype();
  const Var y = record("conv2d", conv2d(x.value(), vw, vb, step, result), {&x, &weight, &bias}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, conv2d_grad_input(gy, vw, shape, step, type));
    if (g.wants(1)) g.add(1, conv2d_grad_weight(vx, gy, vw.shape(), step).to(vw.dtype()));
    if (g.wants(2)) g.add(2, sum(gy.to(vb.dtype()), {0, 2, 3}));
  });
  return push_conv(x, weight, bias, y, step);
}

}  // namespace fm
