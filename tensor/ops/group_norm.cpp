#include "tensor/ops/group_norm.h"

#include <cmath>

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

constexpr const char* op = "group_norm";

// The inputs in the type of the computation, and the layer norm of rows (B, groups, width) that group norm consists of.
struct Prepared {
  DType compute;
  Shape shape, rows;
  Tensor x, weight, bias;                // weight and bias (C)
  NormForm form;

  Tensor of_channels(const Tensor& p) const { return p.reshape(Shape::filled(shape.rank(), 1).with(1, shape[1])); }
  Tensor as_rows(const Tensor& t) const { return t.to(compute).contiguous().reshape(rows); }
  Tensor normalized() const {
    NormSaved unused;
    return norm_value(form, {as_rows(x), {}, {}, {}, {}}, unused).reshape(shape);
  }
  Tensor before_silu(const Tensor& h) const {
    Tensor z = weight.defined() ? h * of_channels(weight) : h;
    return bias.defined() ? z + of_channels(bias) : z;
  }
};

Tensor channel_operand(const Tensor& p, const Shape& x, DType compute, const char* what) {
  if (p.defined() && p.shape() != Shape{x[1]})
    throw ShapeError(std::string("group_norm: ") + what + " " + to_string(p.shape()) + " does not fit " + std::to_string(x[1]) + " channels");
  return p.defined() ? p.to(compute).contiguous() : p;
}

Prepared prepare(const GroupNormForm& form, const GroupNormInputs& in) {
  const DType compute = compute_type(in.x, op);
  const Shape shape = in.x.shape();
  check_stream(in.x.dtype(), form.result, op);
  if (shape.rank() < 3 || form.groups < 1 || shape[1] == 0 || shape[1] % form.groups != 0)
    throw ShapeError("group_norm: x of shape " + to_string(shape) + " must be (B, C, ...), with C a multiple of the " + std::to_string(form.groups) + " groups");
  if (!(form.eps >= 0 && std::isfinite(form.eps))) throw ConfigError("group_norm: eps = " + std::to_string(form.eps) + " must be finite and >= 0");
  std::int64_t width = shape[1] / form.groups;
  for (int i = 2; i < shape.rank(); ++i) width *= shape[i];
  if (width == 0) throw ShapeError("group_norm: x of shape " + to_string(shape) + " has no positions to normalize");
  common_device(op, {&in.x, &in.weight, &in.bias});
  return {compute, shape, {shape[0], form.groups, width}, in.x.contiguous(), channel_operand(in.weight, shape, compute, "weight"),
          channel_operand(in.bias, shape, compute, "bias"), {NormKind::layer, form.eps, compute}};
}

}  // namespace

Tensor group_norm_value(const GroupNormForm& form, const GroupNormInputs& in, NormSaved& saved) {
  const OpName scope(op);
  const Prepared p = prepare(form, in);
  if (in.x.device().is_cuda()) {
    const Tensor z = p.before_silu(norm_value(p.form, {p.as_rows(p.x), {}, {}, {}, {}}, saved).reshape(p.shape));
    return (form.silu ? silu(z) : z).to(form.result);
  }
  const std::int64_t rows = p.rows[0] * p.rows[1], channels = p.shape[1] / form.groups;
  saved.mean = Tensor::empty({rows}, p.compute, in.x.device());
  saved.rstd = Tensor::empty({rows}, p.compute, in.x.device());
  Tensor y = Tensor::empty(p.shape, form.result, in.x.device());
  count_traffic({&p.x, &y});
  on_stream(in.x.device(), in.x.dtype(), form.result, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    kernels.group_norm_value({rows, form.groups, channels, p.rows[2] / channels, static_cast<T>(form.eps), p.x.data<X>(), pointer_or_null<T>(p.weight),
                              pointer_or_null<T>(p.bias), form.silu, saved.mean.data<T>(), saved.rstd.data<T>()},
                             y.data<S>());
  });
  return y;
}

Tensor group_norm_push(const GroupNormForm& form, const GroupNormInputs& in, const NormSaved& saved, const GroupNormInputs& d) {
  const OpName scope(op);
  const Prepared p = prepare(form, in);
  check_shape(d.x, p.shape, op);
  const Tensor h = form.silu || d.weight.defined() ? p.normalized() : Tensor();
  Tensor dz;
  const auto add = [&](const Tensor& part) { dz = dz.defined() ? dz + part : part; };
  if (d.x.defined()) {
    const Tensor dh = norm_push(p.form, {p.as_rows(p.x), {}, {}, {}, {}}, saved, {p.as_rows(d.x), {}, {}, {}, {}}).reshape(p.shape);
    add(p.weight.defined() ? dh * p.of_channels(p.weight) : dh);
  }
  if (d.weight.defined()) add(h * p.of_channels(channel_operand(d.weight, p.shape, p.compute, "tangent of weight")));
  if (d.bias.defined()) add(p.of_channels(channel_operand(d.bias, p.shape, p.compute, "tangent of bias")).expand(p.shape));
  if (!dz.defined()) return Tensor::zeros(p.shape, form.result, in.x.device());
  return (form.silu ? map_slope<Silu>(p.before_silu(h), dz.contiguous()) : dz).to(form.result).contiguous();
}

GroupNormInputs group_norm_pull(const GroupNormForm& form, const GroupNormInputs& in, const NormSaved& saved, const Tensor& gy, const NormWanted& wanted) {
  const OpName scope(op);
  const Prepared p = prepare(form, in);
  check_shape(gy, p.shape, op);
  const Tensor h = form.silu || wanted.weight ? p.normalized() : Tensor();
  const Tensor g = gy.to(p.compute).contiguous(), gz = form.silu ? map_slope<Silu>(p.before_silu(h), g) : g;
  std::vector<int> others{0};
  for (int i = 2; i < p.shape.rank(); ++i) others.push_back(i);
  GroupNormInputs out;
  if (wanted.weight) out.weight = sum(gz * h, others).to(in.weight.dtype());
  if (wanted.bias) out.bias = sum(gz, others).to(in.bias.dtype());
  if (!wanted.x) return out;
  const Tensor gh = p.weight.defined() ? gz * p.of_channels(p.weight) : gz;
  out.x = norm_pull(p.form, {p.as_rows(p.x), {}, {}, {}, {}}, saved, p.as_rows(gh), {.x = true}).x.reshape(p.shape).to(in.x.dtype());
  return out;
}

}  // namespace fm
