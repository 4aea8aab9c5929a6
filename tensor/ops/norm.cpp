#include "tensor/ops/norm.h"

#include <cmath>

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/modulation.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

const char* name_of(NormKind kind) { return kind == NormKind::layer ? "layer_norm" : "rms_norm"; }

// The operands in the form that kernels read.
struct PreparedNorm {
  DType stream, result, compute;
  Tensor x, weight, bias;
  ModulationRows modulation;             // first: scale, second: shift
  std::int64_t rows, width;

  template <class T, class S, class X> rows::Norm<T, S, X> args(double eps, const NormSaved& saved) const {
    return {rows, width, static_cast<T>(eps), x.data<X>(), pointer_or_null<T>(weight), pointer_or_null<T>(bias),
            pointer_or_null<S>(modulation.first), pointer_or_null<S>(modulation.second), modulation.layout,
            writable_or_null<T>(saved.mean), writable_or_null<T>(saved.rstd)};
  }
};

Tensor affine_operand(const Tensor& w, std::int64_t width, DType compute, const char* op, const char* what) {
  if (w.defined() && w.shape() != Shape{width})
    throw ShapeError(std::string(op) + ": " + what + " " + to_string(w.shape()) + " does not fit rows of width " + std::to_string(width));
  return w.defined() ? widen(w, compute, op).contiguous() : w;
}

PreparedNorm prepare(const NormForm& form, const NormInputs& in) {
  const char* op = name_of(form.kind);
  const DType compute = compute_type(in.x, op), result = form.result;
  check_stream(in.x.dtype(), result, op);
  if (in.x.rank() == 0 || in.x.shape().back() == 0)
    throw ShapeError(std::string(op) + ": x of shape " + to_string(in.x.shape()) + " has no rows to normalize");
  if (in.bias.defined() && !in.weight.defined()) throw ShapeError(std::string(op) + ": a bias was given without a weight");
  if (in.shift.defined() && !in.scale.defined()) throw ShapeError(std::string(op) + ": a shift was given without a scale");
  common_device(op, {&in.x, &in.weight, &in.bias, &in.scale, &in.shift});
  const std::int64_t width = in.x.shape().back();
  return {in.x.dtype(), result, compute, in.x.contiguous(), affine_operand(in.weight, width, compute, op, "weight"),
          affine_operand(in.bias, width, compute, op, "bias"),
          modulation_rows(as_activation(in.scale, result, op), as_activation(in.shift, result, op), in.x.shape(), op), in.x.numel() / width, width};
}

// Checks the sizes of the statistics. Kernels would read beyond the end of statistics of a smaller x.
void check_saved(const PreparedNorm& p, NormKind kind, const NormSaved& saved, const char* op) {
  const auto fits = [&](const Tensor& t) { return t.defined() && t.numel() == p.rows && t.dtype() == p.compute; };
  if (!fits(saved.rstd) || (kind == NormKind::layer && !fits(saved.mean)))
    throw ShapeError(std::string(op) + ": the saved statistics are not those of x of shape " + to_string(p.x.shape()));
}

// Returns the cotangents for an x without rows: zeros, because no input has an effect.
NormInputs no_rows(const NormInputs& in, const NormWanted& wanted) {
  const auto zeros = [](bool want, const Tensor& like) { return want ? Tensor::zeros(like.shape(), like.dtype(), like.device()) : Tensor(); };
  return {zeros(wanted.x, in.x), zeros(wanted.weight, in.weight), zeros(wanted.bias, in.bias), zeros(wanted.scale, in.scale),
          zeros(wanted.shift, in.shift)};
}

Tensor empty_if(bool wanted, const Shape& shape, DType dtype, Device device) { return wanted ? Tensor::empty(shape, dtype, device) : Tensor(); }

}  // namespace

Tensor norm_value(const NormForm& form, const NormInputs& in, NormSaved& saved) {
  const OpName scope(name_of(form.kind));
  if (!(form.eps >= 0 && std::isfinite(form.eps)))
    throw ConfigError(std::string(name_of(form.kind)) + ": eps = " + std::to_string(form.eps) + " must be finite and >= 0");
  const PreparedNorm p = prepare(form, in);
  if (form.kind == NormKind::layer) saved.mean = Tensor::empty({p.rows}, p.compute, in.x.device());
  saved.rstd = Tensor::empty({p.rows}, p.compute, in.x.device());
  Tensor y = Tensor::empty(in.x.shape(), p.result, in.x.device());
  count_traffic({&p.x, &p.modulation.first, &p.modulation.second, &y});
  on_stream(in.x.device(), p.stream, p.result, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    const auto kernel = form.kind == NormKind::layer ? kernels.layer_norm_value : kernels.rms_norm_value;
    kernel(p.args<T, S, X>(form.eps, saved), y.data<S>());
  });
  return y;
}

namespace {

// Returns the rows of the tangents of scale and shift. They must be per token if the rows of the modulations are. If one modulation is per sample
// and the other per token, both became per token, so an undefined tangent is replaced by zeros.
ModulationRows modulation_tangents(const NormInputs& in, const NormInputs& d, DType result, const char* op) {
  if (!d.scale.defined() && !d.shift.defined()) return {};
  const bool two_kinds = in.shift.defined() && in.scale.numel() != in.shift.numel();
  const auto filled = [&](const Tensor& t, const Tensor& m) { return t.defined() || !two_kinds ? t : Tensor::zeros(m.shape(), m.dtype(), m.device()); };
  return modulation_rows(as_activation(filled(d.scale, in.scale), result, op), as_activation(filled(d.shift, in.shift), result, op), in.x.shape(), op);
}

}  // namespace

Tensor norm_push(const NormForm& form, const NormInputs& in, const NormSaved& saved, const NormInputs& d) {
  const char* op = name_of(form.kind);
  const OpName scope(op);
  const PreparedNorm p = prepare(form, in);
  common_device(op, {&in.x, &d.x, &d.weight, &d.bias, &d.scale, &d.shift});
  const ModulationRows dm = modulation_tangents(in, d, p.result, op);
  check_shape(d.x, in.x.shape(), op);
  check_saved(p, form.kind, saved, op);
  const Tensor dx = d.x.defined() ? as_activation(d.x, p.stream, op).contiguous() : d.x;
  const Tensor dw = affine_operand(d.weight, p.width, p.compute, op, "tangent of weight");
  const Tensor db = affine_operand(d.bias, p.width, p.compute, op, "tangent of bias");
  Tensor dy = Tensor::empty(in.x.shape(), p.result, in.x.device());
  count_traffic({&p.x, &dx, &p.modulation.first, &p.modulation.second, &dm.first, &dm.second, &dy});
  on_stream(in.x.device(), p.stream, p.result, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    const auto kernel = form.kind == NormKind::layer ? kernels.layer_norm_push : kernels.rms_norm_push;
    kernel(p.args<T, S, X>(form.eps, saved), {pointer_or_null<X>(dx), pointer_or_null<T>(dw), pointer_or_null<T>(db), pointer_or_null<S>(dm.first),
                                              pointer_or_null<S>(dm.second), dm.layout.ld, dy.data<S>()});
  });
  return dy;
}

NormInputs norm_pull(const NormForm& form, const NormInputs& in, const NormSaved& saved, const Tensor& gy, const NormWanted& wanted) {
  const char* op = name_of(form.kind);
  const OpName scope(op);
  const PreparedNorm p = prepare(form, in);
  check_defined(gy, op);
  check_shape(gy, in.x.shape(), op);
  check_saved(p, form.kind, saved, op);
  const Tensor g = as_activation(gy, p.result, op).contiguous();
  if (p.rows == 0) return no_rows(in, wanted);
  const Device device = common_device(op, {&in.x, &g});
  const Shape groups{p.modulation.groups, p.width};
  const NormInputs out{empty_if(wanted.x, in.x.shape(), p.stream, device), empty_if(wanted.weight, {p.width}, p.compute, device),
                       empty_if(wanted.bias, {p.width}, p.compute, device), empty_if(wanted.scale, groups, p.compute, device),
                       empty_if(wanted.shift, groups, p.compute, device)};
  count_traffic({&p.x, &g, &p.modulation.first, &out.x, &out.scale, &out.shift});
  Tensor workspace;
  if (wanted.weight || wanted.bias) workspace = Tensor::empty({rows::norm_workspace(p.rows, p.width, p.modulation.layout.share)}, p.compute, device);
  on_stream(device, p.stream, p.result, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    const auto kernel = form.kind == NormKind::layer ? kernels.layer_norm_pull : kernels.rms_norm_pull;
    kernel(p.args<T, S, X>(form.eps, saved),
           {g.data<S>(), writable_or_null<X>(out.x), writable_or_null<T>(out.weight), writable_or_null<T>(out.bias), writable_or_null<T>(out.scale),
            writable_or_null<T>(out.shift), p.width, writable_or_null<T>(workspace)});
  });
  const auto like = [](const Tensor& t, const Tensor& input) { return t.defined() ? t.to(input.dtype()) : t; };
  return {like(out.x, in.x), like(out.weight, in.weight), like(out.bias, in.bias),
          wanted.scale ? modulation_gradient(out.scale, in.scale.shape()).to(in.scale.dtype()) : Tensor(),
          wanted.shift ? modulation_gradient(out.shift, in.shift.shape()).to(in.shift.dtype()) : Tensor()};
}

NormInputs head_samples(const NormInputs& in, std::int64_t samples) {
  if (in.x.rank() < 2) return in;
  return {head_rows(in.x, samples), in.weight, in.bias, head_rows(in.scale, samples), head_rows(in.shift, samples)};
}

NormSaved head_samples(const NormSaved& saved, const Shape& x, std::int64_t samples) {
  if (x.rank() < 2 || x[0] == 0) return saved;
  const std::int64_t rows = x.numel() / x.back() / x[0] * samples;
  return {head_rows(saved.mean, rows), head_rows(saved.rstd, rows)};
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  NormSaved saved;
  return norm_value({NormKind::layer, eps, x.dtype()}, {x, weight, bias, {}, {}}, saved);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  NormSaved saved;
  return norm_value({NormKind::rms, eps, x.dtype()}, {x, weight, {}, {}, {}}, saved);
}

Tensor layer_norm_modulate(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& shift, const Tensor& scale, double eps) {
  NormSaved saved;
  return norm_value({NormKind::layer, eps, x.dtype()}, {x, weight, bias, scale, shift}, saved);
}

Tensor rms_norm_modulate(const Tensor& x, const Tensor& weight, const Tensor& shift, const Tensor& scale, double eps) {
  NormSaved saved;
  return norm_value({NormKind::rms, eps, x.dtype()}, {x, weight, {}, scale, shift}, saved);
}

}  // namespace fm
