#include "autodiff/var.h"

#include "tensor/ops/copy.h"

namespace fm {

Var::Var(const Parameter& p) : value_(p.value) {
  if (!p.trainable) return;
  if (Tape::current()) *this = Tape::current()->variable(p);
  else ParametersUsed::note(p);
}

std::int64_t Var::tangent_rows() const {
  if (!tangent_) return 0;
  return rank() == 0 ? 1 : tangent_->dim(0);
}

Var Var::with_tangent(const Var& dx) const {
  if (!dx.defined()) return without_tangent();
  const bool fits = dx.shape() == shape() ||
                    (rank() > 0 && dx.rank() == rank() && dx.dim(0) <= dim(0) && dx.shape().with(0, dim(0)) == shape());
  if (!fits) throw ShapeError("a tangent of shape " + to_string(dx.shape()) + " does not fit a value of shape " + to_string(shape()));
  Var out(value_, node_);
  if (dx.rank() == 0 || dx.dim(0) > 0) out.tangent_ = std::make_shared<const Var>(dx.without_tangent());
  return out;
}

Tensor Var::full_tangent() const {
  if (!tangent_) return Tensor::zeros(shape(), dtype(), value().device());
  const Tensor& dx = tangent_->value();
  return dx.shape() == shape() ? dx : pad(dx, 0, 0, dim(0) - dx.dim(0));
}

Gradients backward(const Var& loss, const OnFinal& on_final) {
  Tape* tape = Tape::current();
  if (!tape) throw AutodiffError("backward: no tape is recording (construct a Tape before the loss is computed)");
  if (!loss.on_tape()) throw AutodiffError("backward: the loss does not depend on any parameter or variable of the tape");
  if (loss.numel() != 1) throw ShapeError("backward: the loss has shape " + to_string(loss.shape()) + "; take its mean or sum first");
  return tape->backward({{loss, Tensor::ones(loss.shape(), loss.dtype(), loss.value().device())}}, on_final);
}

namespace {

template <class Inputs> Var record_any(const char* op, const Tensor& value, const Inputs& inputs, Pull&& pull) {
  Tape* tape = Tape::current();
  if (!tape) return {value};
  std::vector<NodeRef> nodes;
  nodes.reserve(inputs.size());
  bool any = false;
  for (const auto& in : inputs) {
    const Var* v;
    if constexpr (std::is_pointer_v<std::decay_t<decltype(in)>>) v = in;
    else v = &in;
    nodes.push_back(v->node());
    any = any || v->on_tape();
  }
  if (!any) return {value};
  return {value, tape->record(op, value.shape(), std::move(nodes), std::move(pull))};
}

}  // namespace

Var record(const char* op, const Tensor& value, std::initializer_list<const Var*> inputs, Pull pull) {
  return record_any(op, value, inputs, std::move(pull));
}
Var record(const char* op, const Tensor& value, const std::vector<Var>& inputs, Pull pull) {
  return record_any(op, value, inputs, std::move(pull));
}

}  // namespace fm
