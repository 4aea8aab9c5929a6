#include "autodiff/rules/group_norm.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/fused.h"
#include "autodiff/rules/norm.h"

namespace fm {
namespace {

GroupNormInputs head_samples(const GroupNormInputs& in, std::int64_t samples) { return {head_rows(in.x, samples), in.weight, in.bias}; }

}  // namespace

Var group_norm(const Var& x, const Var& weight, const Var& bias, std::int64_t groups, double eps) {
  return group_norm(x, weight, bias, {groups, eps, false, x.dtype()});
}

Var group_norm(const Var& x, const Var& w, const Var& b, const GroupNormForm& form) {
  if (use_reference({&x, &w, &b})) return group_norm_reference(x, w, b, form);
  const GroupNormInputs in{x.value(), value_of(w), value_of(b)};
  NormSaved saved;
  const Tensor value = group_norm_value(form, in, saved);
  const Var y = record("group_norm", value, {&x, &w, &b}, [=](const Tensor& gy, Cotangents& g) {
    const GroupNormInputs c = group_norm_pull(form, in, saved, gy, {.x = g.wants(0), .weight = g.wants(1), .bias = g.wants(2)});
    if (c.x.defined()) g.add(0, c.x);
    if (c.weight.defined()) g.add(1, c.weight);
    if (c.bias.defined()) g.add(2, c.bias);
  });
  TangentRows t;
  t.include(x, true, x.dim(0));
  for (const Var* v : {&w, &b}) t.include(*v, false, x.dim(0));
  if (!t.any()) return y;
  return y.with_tangent(push([&]() -> Var {
    const std::int64_t rows = t.rows * form.groups;
    const NormSaved of_rows{head_rows(saved.mean, rows), head_rows(saved.rstd, rows)};
    return group_norm_push(form, head_samples(in, t.rows), of_rows,
                           {value_of(t.tangent(x, true)), value_of(t.tangent(w, false)), value_of(t.tangent(b, false))});
  }));
}

Var group_norm_reference(const Var& x, const Var& w, const Var& b, const GroupNormForm& form) {
  const Shape shape = x.shape();
  const DType compute = compute_type(x.value(), "group_norm");
  const auto of_channels = [&](const Var& p) { return reshape(cast(p, compute), Shape::filled(shape.rank(), 1).with(1, shape[1])); };
  const Var rows = reshape(cast(x, compute), {shape[0], form.groups, shape.numel() / (shape[0] * form.groups)});
  Var y = reshape(norm_reference({NormKind::layer, form.eps, compute}, rows, {}, {}, {}, {}), shape);
  if (w.defined()) y = y * of_channels(w);
  if (b.defined()) y = y + of_channels(b);
  return cast(form.silu ? silu(y) : y, form.result);
}

}  // namespace fm
