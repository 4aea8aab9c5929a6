#include "autodiff/rules/elementwise.h"

#include <limits>

#include "autodiff/rules/linear.h"
#include "autodiff/rules/rows.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

// f'(x) dx as an operation of x and dx, for recorded tangents:  d/dx = f''(x) dx,  d/d(dx) = f'(x). f'' comes from dual numbers.
template <class Op> Var slope_times(const Var& x, const Var& dx) {
  const Tensor vx = x.value(), vdx = dx.value();
  const Tensor saved = saves_output<Op> ? map<Op>(vx) : vx;
  return record(op_name(Op{}), map_slope<Op>(saved, vdx), {&x, &dx}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, map_curvature<Op>(vx, vdx, gy));
    if (g.wants(1)) g.add(1, map_slope<Op>(saved, gy));
  });
}

}  // namespace

template <class Op> Var unary(const Var& x) {
  const bool dual = x.has_tangent() && tangent_mode() != TangentMode::taped && x.tangent().shape() == x.shape();
  Tensor value, tangent;
  if (dual) map_dual<Op>(x.value(), x.tangent().value(), value, tangent);
  else value = map<Op>(x.value());
  const Tensor saved = saves_output<Op> ? value : x.value();
  const Var y = record(op_name(Op{}), value, {&x}, [saved](const Tensor& gy, Cotangents& g) { g.add(0, map_slope<Op>(saved, gy)); });
  if (!x.has_tangent()) return y;
  if (dual) return y.with_tangent(tangent);
  return y.with_tangent(push([&] { return slope_times<Op>(head(x, x.tangent_rows()), x.tangent()); }));
}

#define FM_INSTANTIATE(Op, function) template Var unary<Op>(const Var&);
FM_UNARY_OPS(FM_INSTANTIATE)
#undef FM_INSTANTIATE

namespace {

bool row_wise(const Var& x, const Tensor& y) { return x.rank() == y.rank() && y.rank() > 0 && x.dim(0) == y.dim(0); }

// Adds the tangent to a binary op's result. rule(a, b, da, db, y) receives values and tangents on the rows that the tangent covers; da or db is
// undefined if that operand has no tangent.
template <class Rule> Var push_binary(const Var& a, const Var& b, const Var& y, Rule&& rule) {
  const bool ra = row_wise(a, y.value()), rb = row_wise(b, y.value());
  TangentRows t;
  const std::int64_t rows = y.rank() ? y.dim(0) : 1;
  t.include(a, ra, rows);
  t.include(b, rb, rows);
  if (!t.any()) return y;
  return y.with_tangent(push([&] {
    const Var dy = rule(t.value(a, ra), t.value(b, rb), t.tangent(a, ra), t.tangent(b, rb), y.rank() ? head(y, t.rows) : y.without_tangent());
    return expand(dy, y.rank() ? y.shape().with(0, t.rows) : y.shape());
  }));
}

template <class F> Var if_defined(const Var& x, F&& f) { return x.defined() ? f(x) : Var(); }

}  // namespace

Var add(const Var& a, const Var& b) {                       // y = a + b:  dy = da + db;  ga = gb = gy
  const Shape sa = a.shape(), sb = b.shape();
  const Var y = record("add", add(a.value(), b.value()), {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, sum_to(gy, sa));
    if (g.wants(1)) g.add(1, sum_to(gy, sb));
  });
  return push_binary(a, b, y, [](const Var&, const Var&, const Var& da, const Var& db, const Var&) { return sum_of(da, db); });
}

Var sub(const Var& a, const Var& b) {                       // y = a - b
  const Shape sa = a.shape(), sb = b.shape();
  const Var y = record("sub", sub(a.value(), b.value()), {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, sum_to(gy, sa));
    if (g.wants(1)) g.add(1, neg(sum_to(gy, sb)));
  });
  return push_binary(a, b, y, [](const Var&, const Var&, const Var& da, const Var& db, const Var&) {
    return da.defined() && db.defined() ? sub(da, db) : da.defined() ? da : neg(db);
  });
}

Var mul(const Var& a, const Var& b) {                       // y = a b:  dy = da b + a db;  ga = gy b, gb = gy a
  const Tensor va = a.value(), vb = b.value();
  const Var y = record("mul", mul(va, vb), {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, sum_to(mul(gy, vb), va.shape()));
    if (g.wants(1)) g.add(1, sum_to(mul(gy, va), vb.shape()));
  });
  return push_binary(a, b, y, [](const Var& pa, const Var& pb, const Var& da, const Var& db, const Var&) {
    return sum_of(if_defined(da, [&](const Var& d) { return mul(d, pb); }), if_defined(db, [&](const Var& d) { return mul(pa, d); }));
  });
}

Var div(const Var& a, const Var& b) {                       // y = a/b:  dy = (da - y db)/b;  ga = gy/b, gb = -y gy/b
  const Tensor vb = b.value();
  const Tensor value = div(a.value(), vb);
  const Shape sa = a.shape();
  const Var y = record("div", value, {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    const Tensor scaled = div(gy, vb);
    if (g.wants(0)) g.add(0, sum_to(scaled, sa));
    if (g.wants(1)) g.add(1, neg(sum_to(mul(scaled, value), vb.shape())));
  });
  return push_binary(a, b, y, [](const Var&, const Var& pb, const Var& da, const Var& db, const Var& py) {
    const Var minus = if_defined(db, [&](const Var& d) { return neg(mul(py, d)); });
    return div(sum_of(da, minus), pb);
  });
}

namespace {

// y = pick_a ? a : b, where pick_a is a constant 0/1 tensor of y's shape
Var choose(const char* name, const Tensor& pick_a, const Tensor& value, const Var& a, const Var& b) {
  const Shape sa = a.shape(), sb = b.shape();
  const Var y = record(name, value, {&a, &b}, [=](const Tensor& gy, Cotangents& g) {
    const Tensor zero = Tensor::scalar(0, gy.dtype(), gy.device());
    if (g.wants(0)) g.add(0, sum_to(where(pick_a, gy, zero), sa));
    if (g.wants(1)) g.add(1, sum_to(where(pick_a, zero, gy), sb));
  });
  return push_binary(a, b, y, [&](const Var&, const Var&, const Var& da, const Var& db, const Var& py) {
    const Var zero = Tensor::scalar(0, py.dtype(), py.value().device());
    const Tensor pick = py.rank() ? pick_a.slice(0, 0, py.dim(0)) : pick_a;
    return where(pick, da.defined() ? da : zero, db.defined() ? db : zero);
  });
}

}  // namespace

Var maximum(const Var& a, const Var& b) { return choose("maximum", greater(a.value(), b.value()), maximum(a.value(), b.value()), a, b); }
Var minimum(const Var& a, const Var& b) { return choose("minimum", less(a.value(), b.value()), minimum(a.value(), b.value()), a, b); }

Var where(const Tensor& condition, const Var& a, const Var& b) {
  const Tensor value = where(condition, a.value(), b.value());
  return choose("where", condition.expand(value.shape()), value, a, b);
}

Var affine(const Var& x, double scale, double shift) {      // y = scale x + shift:  dy = scale dx;  gx = scale gy
  const Var y = record("affine", affine(x.value(), scale, shift), {&x},
                       [scale](const Tensor& gy, Cotangents& g) { g.add(0, scale == 1 ? gy : affine(gy, scale, 0)); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return scale == 1 ? x.tangent() : affine(x.tangent(), scale, 0); }));
}

Var clamp(const Var& x, double low, double high) {
  return minimum(maximum(x, Tensor::scalar(low, x.dtype(), x.value().device())), Tensor::scalar(high, x.dtype(), x.value().device()));
}

}  // namespace fm
