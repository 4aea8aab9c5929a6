#include "tensor/ops/gates.h"

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/modulation.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

std::int64_t half_of(const Tensor& x) {
  if (x.rank() == 0 || x.shape().back() == 0 || x.shape().back() % 2 != 0)
    throw ShapeError("swiglu: x of shape " + to_string(x.shape()) + "; its last dimension must be two equal halves");
  return x.shape().back() / 2;
}

}  // namespace

Tensor swiglu(const Tensor& x) {
  const OpName scope("swiglu");
  compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(x.shape().with(x.rank() - 1, half), x.dtype(), x.device());
  count_traffic({&in, &y});
  with_activations(x, [&]<class T, class S>(T, S, const auto& kernels) {
    kernels.swiglu_value(x.numel() / (2 * half), half, in.data<S>(), y.data<S>());
  });
  return y;
}

Tensor swiglu_push(const Tensor& x, const Tensor& dx) {
  const OpName scope("swiglu");
  compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  check_defined(dx, "swiglu");
  check_shape(dx, x.shape(), "swiglu");
  const Tensor in = x.contiguous(), d = as_activation(dx, x.dtype(), "swiglu").contiguous();
  Tensor dy = Tensor::empty(x.shape().with(x.rank() - 1, half), x.dtype(), common_device("swiglu", {&x, &dx}));
  count_traffic({&in, &d, &dy});
  with_activations(x, [&]<class T, class S>(T, S, const auto& kernels) {
    kernels.swiglu_push(x.numel() / (2 * half), half, in.data<S>(), d.data<S>(), dy.data<S>());
  });
  return dy;
}

Tensor swiglu_pull(const Tensor& x, const Tensor& gy) {
  const OpName scope("swiglu");
  compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  check_defined(gy, "swiglu");
  check_shape(gy, x.shape().with(x.rank() - 1, half), "swiglu");
  const Tensor in = x.contiguous(), g = as_activation(gy, x.dtype(), "swiglu").contiguous();
  Tensor gx = Tensor::empty(x.shape(), x.dtype(), common_device("swiglu", {&x, &gy}));
  count_traffic({&in, &g, &gx});
  with_activations(x, [&]<class T, class S>(T, S, const auto& kernels) {
    kernels.swiglu_pull(x.numel() / (2 * half), half, in.data<S>(), g.data<S>(), gx.data<S>());
  });
  return gx;
}

namespace {

constexpr const char* gate_name = "gated_residual";

// The type of the branch: bf16 for a bf16 h of an f32 stream, else the type of the stream.
DType branch_type(DType stream, const Tensor& h) { return stream == DType::f32 && h.dtype() == DType::bf16 ? DType::bf16 : stream; }

struct PreparedGate {
  DType stream, branch, compute;
  Tensor h;
  ModulationRows gate;
  template <class S, class X> rows::Gated<S, X> args(const X* x = nullptr) const {
    const std::int64_t width = h.shape().back();
    return {h.numel() / width, width, x, h.data<S>(), pointer_or_null<S>(gate.first), gate.layout};
  }
};

PreparedGate prepare(const GatedBranch& in, DType stream) {
  const DType compute = compute_type(in.h, gate_name), branch = branch_type(stream, in.h);
  if (in.h.rank() == 0 || in.h.shape().back() == 0) throw ShapeError(std::string(gate_name) + ": h of shape " + to_string(in.h.shape()) + " has no rows");
  if (!in.gate.defined()) throw Error(std::string(gate_name) + ": the gate is undefined");
  common_device(gate_name, {&in.h, &in.gate});
  return {stream, branch, compute, as_activation(in.h, branch, gate_name).contiguous(),
          modulation_rows(as_activation(in.gate, branch, gate_name), {}, in.h.shape(), gate_name)};
}

}  // namespace

Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate) {
  const OpName scope(gate_name);
  compute_type(x, gate_name);
  if (h.defined() && x.shape() != h.shape())
    throw ShapeError(std::string(gate_name) + ": x " + to_string(x.shape()) + " and h " + to_string(h.shape()) + " must have one shape");
  const PreparedGate p = prepare({h, gate}, x.dtype());
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(x.shape(), p.stream, common_device(gate_name, {&x, &h, &gate}));
  count_traffic({&in, &p.h, &p.gate.first, &y});
  on_stream(y.device(), p.stream, p.branch, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    kernels.gated_value(p.args<S, X>(in.data<X>()), y.data<X>());
  });
  return y;
}

Tensor gated_push(const GatedBranch& in, const GatedTangents& d, DType stream) {
  const OpName scope(gate_name);
  const PreparedGate p = prepare(in, stream);
  const auto rows = [&](const Tensor& t, DType type) {
    check_shape(t, in.h.shape(), gate_name);
    return t.defined() ? as_activation(t, type, gate_name).contiguous() : t;
  };
  const Tensor dx = rows(d.x, p.stream), dh = rows(d.h, p.branch);
  const ModulationRows dgate = modulation_rows(as_activation(d.gate, p.branch, gate_name), {}, in.h.shape(), gate_name);
  Tensor dy = Tensor::empty(in.h.shape(), p.stream, common_device(gate_name, {&in.h, &d.x, &d.h, &d.gate}));
  count_traffic({&p.h, &dx, &dh, &p.gate.first, &dgate.first, &dy});
  on_stream(dy.device(), p.stream, p.branch, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    kernels.gated_push(p.args<S, X>(), pointer_or_null<X>(dx), pointer_or_null<S>(dh), pointer_or_null<S>(dgate.first), dgate.layout.ld, dy.data<X>());
  });
  return dy;
}

GatedBranch gated_pull(const GatedBranch& in, DType stream, const Tensor& gy, bool want_h, bool want_gate) {
  const OpName scope(gate_name);
  const PreparedGate p = prepare(in, stream);
  check_defined(gy, gate_name);
  check_shape(gy, in.h.shape(), gate_name);
  const Tensor g = as_activation(gy, p.stream, gate_name).contiguous();
  if (in.h.numel() == 0) {                                      // without rows nothing depends on the gate
    const auto zeros = [](bool want, const Tensor& like) { return want ? Tensor::zeros(like.shape(), like.dtype(), like.device()) : Tensor(); };
    return {zeros(want_h, in.h), zeros(want_gate, in.gate)};
  }
  const Device device = common_device(gate_name, {&in.h, &g});
  Tensor gh, ggate;
  if (want_h) gh = Tensor::empty(in.h.shape(), p.branch, device);
  if (want_gate) ggate = Tensor::empty({p.gate.groups, in.h.shape().back()}, p.compute, device);
  count_traffic({&p.h, &g, &p.gate.first, &gh, &ggate});
  on_stream(device, p.stream, p.branch, [&]<class T, class S, class X>(T, S, X, const auto& kernels) {
    kernels.gated_pull(p.args<S, X>(), g.data<X>(), writable_or_null<S>(gh), writable_or_null<T>(ggate), in.h.shape().back());
  });
  return {want_h ? gh.to(in.h.dtype()) : gh, want_gate ? modulation_gradient(ggate, in.gate.shape()).to(in.gate.dtype()) : ggate};
}

}  // namespace fm
