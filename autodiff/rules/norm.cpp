#include "autodiff/rules/norm.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/fused.h"
#include "autodiff/rules/linear.h"

namespace fm {
namespace {

// A modulation with one row per sample, shaped to broadcast over the middle dimensions of x (B, ..., C).
Var over_tokens(const Var& m, const Shape& x) {
  if (m.shape() == x) return m;
  Shape shape = Shape::filled(x.rank(), 1);
  shape[0] = x[0];
  shape[x.rank() - 1] = x.back();
  return reshape(m, shape);
}

// The tangents of all operands, on the rows that the output's tangent covers.
NormInputs tangents(const TangentRows& t, bool rows, const Var& x, const Var& w, const Var& b, const Var& scale, const Var& shift) {
  return {value_of(t.tangent(x, rows)), value_of(t.tangent(w, false)), value_of(t.tangent(b, false)), value_of(t.tangent(scale, rows)),
          value_of(t.tangent(shift, rows))};
}

Var norm(const char* name, const NormForm& form, const Var& x, const Var& w, const Var& b, const Var& shift, const Var& scale) {
  if (use_reference({&x, &w, &b, &shift, &scale})) return norm_reference(form, x, w, b, shift, scale);
  const NormInputs in{x.value().contiguous(), value_of(w), value_of(b), value_of(scale), value_of(shift)};
  NormSaved saved;
  const Tensor value = norm_value(form, in, saved);
  const Var y = record(name, value, {&x, &w, &b, &scale, &shift}, [=](const Tensor& gy, Cotangents& g) {
    const NormInputs c = norm_pull(form, in, saved, gy, {g.wants(0), g.wants(1), g.wants(2), g.wants(3), g.wants(4)});
    std::size_t i = 0;
    for (const Tensor& cotangent : {c.x, c.weight, c.bias, c.scale, c.shift}) {
      if (cotangent.defined()) g.add(i, cotangent);
      ++i;
    }
  });
  const bool rows = x.rank() > 1;                          // false for a vector, whose dimension 0 is the normalized one
  const std::int64_t all = rows ? x.dim(0) : 1;
  TangentRows t;
  for (const Var* v : {&x, &scale, &shift}) t.include(*v, rows, all);
  for (const Var* v : {&w, &b}) t.include(*v, false, all);
  if (!t.any()) return y;
  return y.with_tangent(push([&]() -> Var {
    return norm_push(form, head_samples(in, t.rows), head_samples(saved, x.shape(), t.rows), tangents(t, rows, x, w, b, scale, shift));
  }));
}

}  // namespace

Var norm_reference(const NormForm& form, const Var& x_any, const Var& w, const Var& b, const Var& shift, const Var& scale) {
  const DType compute = compute_type(x_any.value(), "norm");
  const Var x = wide(x_any, compute);
  const Var centred = form.kind == NormKind::layer ? x - mean(x, {-1}, true) : x;
  Var y = centred * rsqrt(mean(square(centred), {-1}, true) + form.eps);
  if (w.defined()) y = y * wide(w, compute);
  if (b.defined()) y = y + wide(b, compute);
  if (scale.defined()) y = y * (1.0 + over_tokens(wide(scale, compute), x.shape()));
  if (shift.defined()) y = y + over_tokens(wide(shift, compute), x.shape());
  return cast(y, form.result);
}

Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps) { return layer_norm(x, weight, bias, eps, x.dtype()); }
Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps, DType result) {
  return norm("layer_norm", {NormKind::layer, eps, result}, x, weight, bias, {}, {});
}
Var rms_norm(const Var& x, const Var& weight, double eps) { return norm("rms_norm", {NormKind::rms, eps, x.dtype()}, x, weight, {}, {}, {}); }
Var layer_norm_modulate(const Var& x, const Var& weight, const Var& bias, const Var& shift, const Var& scale, double eps) {
  return layer_norm_modulate(x, weight, bias, shift, scale, eps, x.dtype());
}
Var layer_norm_modulate(const Var& x, const Var& weight, const Var& bias, const Var& shift, const Var& scale, double eps, DType result) {
  return norm("layer_norm_modulate", {NormKind::layer, eps, result}, x, weight, bias, shift, scale);
}
Var rms_norm_modulate(const Var& x, const Var& weight, const Var& shift, const Var& scale, double eps) {
  return rms_norm_modulate(x, weight, shift, scale, eps, x.dtype());
}
Var rms_norm_modulate(const Var& x, const Var& weight, const Var& shift, const Var& scale, double eps, DType result) {
  return norm("rms_norm_modulate", {NormKind::rms, eps, result}, x, weight, {}, shift, scale);
}

}  // namespace fm
