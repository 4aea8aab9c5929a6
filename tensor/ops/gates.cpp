#include "tensor/ops/gates.h"

#include "tensor/kernels/cpu/rows.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/modulation.h"
#include "tensor/ops/widen.h"

namespace fm {
namespace {

template <class T> const cpu::RowTable<T>& table() { return cpu::row_kernels().of<T>(); }

std::int64_t half_of(const Tensor& x) {
  if (x.rank() == 0 || x.shape().back() == 0 || x.shape().back() % 2 != 0)
    throw ShapeError("swiglu: x of shape " + to_string(x.shape()) + "; its last dimension must be two equal halves");
  return x.shape().back() / 2;
}

}  // namespace

Tensor swiglu(const Tensor& x) {
  const OpName scope("swiglu");
  const DType compute = compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  const Tensor in = widen(x, compute, "swiglu").contiguous();
  Tensor y = Tensor::empty(x.shape().with(x.rank() - 1, half), compute);
  with_compute_type(compute, [&]<class T>(T) { table<T>().swiglu_value(x.numel() / (2 * half), half, in.data<T>(), y.data<T>()); });
  return y.to(x.dtype());
}

Tensor swiglu_push(const Tensor& x, const Tensor& dx) {
  const OpName scope("swiglu");
  const DType compute = compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  const Tensor in = widen(x, compute, "swiglu").contiguous(), d = widen(dx, compute, "swiglu").contiguous();
  Tensor dy = Tensor::empty(x.shape().with(x.rank() - 1, half), compute);
  with_compute_type(compute, [&]<class T>(T) { table<T>().swiglu_push(x.numel() / (2 * half), half, in.data<T>(), d.data<T>(), dy.data<T>()); });
  return dy.to(x.dtype());
}

Tensor swiglu_pull(const Tensor& x, const Tensor& gy) {
  const OpName scope("swiglu");
  const DType compute = compute_type(x, "swiglu");
  const std::int64_t half = half_of(x);
  const Tensor in = widen(x, compute, "swiglu").contiguous(), g = widen(gy, compute, "swiglu").contiguous();
  Tensor gx = Tensor::empty(x.shape(), compute);
  with_compute_type(compute, [&]<class T>(T) { table<T>().swiglu_pull(x.numel() / (2 * half), half, in.data<T>(), g.data<T>(), gx.data<T>()); });
  return gx.to(x.dtype());
}

namespace {

constexpr const char* name = "gated_residual";

struct Prepared {
  DType compute;
  Tensor x, h;
  ModulationRows gate;
  template <class T> rows::Gated<T> args() const {
    const std::int64_t width = h.shape().back();
    return {h.numel() / width, width, x.data<T>(), h.data<T>(), pointer_or_null<T>(gate.first), gate.layout};
  }
};

Prepared prepare(const GatedInputs& in) {
  const DType compute = compute_type(in.x, name);
  if (in.x.shape() != in.h.shape() || in.x.rank() == 0 || in.x.shape().back() == 0)
    throw ShapeError(std::string(name) + ": x " + to_string(in.x.shape()) + " and h " + to_string(in.h.shape()) + " must have one shape with rows");
  if (!in.gate.defined()) throw Error(std::string(name) + ": an undefined gate was given");
  return {compute, widen(in.x, compute, name).contiguous(), widen(in.h, compute, name).contiguous(),
          modulation_rows(widen(in.gate, compute, name), {}, in.x.shape(), name)};
}

}  // namespace

Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate) {
  const OpName scope(name);
  const Prepared p = prepare({x, h, gate});
  Tensor y = Tensor::empty(x.shape(), p.compute);
  with_compute_type(p.compute, [&]<class T>(T) { table<T>().gated_value(p.args<T>(), y.data<T>()); });
  return y.to(x.dtype());
}

Tensor gated_push(const GatedInputs& in, const GatedInputs& d) {
  const OpName scope(name);
  const Prepared p = prepare(in);
  const auto rows = [&](const Tensor& t) { return t.defined() ? widen(t, p.compute, name).contiguous() : t; };
  const Tensor dx = rows(d.x), dh = rows(d.h);
  const ModulationRows dgate = modulation_rows(widen(d.gate, p.compute, name), {}, in.x.shape(), name);
  Tensor dy = Tensor::empty(in.x.shape(), p.compute);
  with_compute_type(p.compute, [&]<class T>(T) {
    table<T>().gated_push(p.args<T>(), pointer_or_null<T>(dx), pointer_or_null<T>(dh), pointer_or_null<T>(dgate.first), dgate.layout.ld, dy.data<T>());
  });
  return dy.to(in.x.dtype());
}

GatedInputs gated_pull(const GatedInputs& in, const Tensor& gy, bool want_h, bool want_gate) {
  const OpName scope(name);
  const Prepared p = prepare(in);
  const Tensor g = widen(gy, p.compute, name).contiguous();
  if (in.h.numel() == 0)                                        // no row: nothing depends on the gate
    return {{}, want_h ? Tensor::zeros(in.h.shape(), in.h.dtype()) : Tensor(), want_gate ? Tensor::zeros(in.gate.shape(), in.gate.dtype()) : Tensor()};
  Tensor gh, ggate;
  if (want_h) gh = Tensor::empty(in.h.shape(), p.compute);
  if (want_gate) ggate = Tensor::empty({p.gate.groups, in.x.shape().back()}, p.compute);
  with_compute_type(p.compute, [&]<class T>(T) {
    table<T>().gated_pull(p.args<T>(), g.data<T>(), writable_or_null<T>(gh), writable_or_null<T>(ggate), in.x.shape().back());
  });
  return {{}, want_h ? gh.to(in.h.dtype()) : gh, want_gate ? modulation_gradient(ggate, in.gate.shape()).to(in.gate.dtype()) : ggate};
}

}  // namespace fm
