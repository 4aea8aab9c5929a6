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

constexpr const char* name = "gated_residual";

struct Prepared {
  DType storage, compute;
  Tensor x, h;
  ModulationRows gate;
  template <class S> rows::Gated<S> args() const {
    const std::int64_t width = h.shape().back();
    return {h.numel() / width, width, x.data<S>(), h.data<S>(), pointer_or_null<S>(gate.first), gate.layout};
  }
};

Prepared prepare(const GatedInputs& in) {
  const DType compute = compute_type(in.x, name), storage = in.x.dtype();
  if (!in.h.defined() || in.x.shape() != in.h.shape() || in.x.rank() == 0 || in.x.shape().back() == 0)
    throw ShapeError(std::string(name) + ": x " + to_string(in.x.shape()) + " and h " + to_string(in.h.shape()) + " must have one shape with rows");
  if (!in.gate.defined()) throw Error(std::string(name) + ": an undefined gate was given");
  common_device(name, {&in.x, &in.h, &in.gate});
  return {storage, compute, in.x.contiguous(), as_activation(in.h, storage, name).contiguous(),
          modulation_rows(as_activation(in.gate, storage, name), {}, in.x.shape(), name)};
}

}  // namespace

Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate) {
  const OpName scope(name);
  const Prepared p = prepare({x, h, gate});
  Tensor y = Tensor::empty(x.shape(), p.storage, x.device());
  count_traffic({&p.x, &p.h, &p.gate.first, &y});
  with_activations(p.x, [&]<class T, class S>(T, S, const auto& kernels) { kernels.gated_value(p.args<S>(), y.data<S>()); });
  return y;
}

Tensor gated_push(const GatedInputs& in, const GatedInputs& d) {
  const OpName scope(name);
  const Prepared p = prepare(in);
  const auto rows = [&](const Tensor& t) {
    check_shape(t, in.x.shape(), name);
    return t.defined() ? as_activation(t, p.storage, name).contiguous() : t;
  };
  const Tensor dx = rows(d.x), dh = rows(d.h);
  const ModulationRows dgate = modulation_rows(as_activation(d.gate, p.storage, name), {}, in.x.shape(), name);
  Tensor dy = Tensor::empty(in.x.shape(), p.storage, common_device(name, {&in.x, &d.x, &d.h, &d.gate}));
  count_traffic({&p.h, &dx, &dh, &p.gate.first, &dgate.first, &dy});
  with_activations(p.x, [&]<class T, class S>(T, S, const auto& kernels) {
    kernels.gated_push(p.args<S>(), pointer_or_null<S>(dx), pointer_or_null<S>(dh), pointer_or_null<S>(dgate.first), dgate.layout.ld, dy.data<S>());
  });
  return dy;
}

GatedInputs gated_pull(const GatedInputs& in, const Tensor& gy, bool want_h, bool want_gate) {
  const OpName scope(name);
  const Prepared p = prepare(in);
  check_defined(gy, name);
  check_shape(gy, in.x.shape(), name);
  const Tensor g = as_activation(gy, p.storage, name).contiguous();
  if (in.h.numel() == 0)                                        // no row: nothing depends on the gate
    return {{}, want_h ? Tensor::zeros(in.h.shape(), in.h.dtype(), in.h.device()) : Tensor(), want_gate ? Tensor::zeros(in.gate.shape(), in.gate.dtype(), in.gate.device()) : Tensor()};
  const Device device = common_device(name, {&in.x, &g});
  Tensor gh, ggate;
  if (want_h) gh = Tensor::empty(in.h.shape(), p.storage, device);
  if (want_gate) ggate = Tensor::empty({p.gate.groups, in.x.shape().back()}, p.compute, device);
  count_traffic({&p.h, &g, &p.gate.first, &gh, &ggate});
  with_activations(p.x, [&]<class T, class S>(T, S, const auto& kernels) {
    kernels.gated_pull(p.args<S>(), g.data<S>(), writable_or_null<S>(gh), writable_or_null<T>(ggate), in.x.shape().back());
  });
  return {{}, want_h ? gh.to(in.h.dtype()) : gh, want_gate ? modulation_gradient(ggate, in.gate.shape()).to(in.gate.dtype()) : ggate};
}

}  // namespace fm
