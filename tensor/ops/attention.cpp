#include "tensor/ops/attention.h"

#include <cmath>

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

constexpr const char* name = "attention";

// A view that the kernels can walk: the computation's type, last dimension contiguous.
Tensor walkable(const Tensor& x, DType compute) {
  if (!x.defined()) return x;
  const Tensor wide = widen(x, compute, name);
  return wide.strides()[3] == 1 || wide.dim(3) == 1 ? wide : wide.contiguous();
}

Qkv walkable(const Qkv& x, DType compute) { return {walkable(x.q, compute), walkable(x.k, compute), walkable(x.v, compute)}; }

template <class T> kernels::Heads<T> heads_of(const Tensor& x) {
  if (!x.defined()) return {};
  return {x.data<std::remove_const_t<T>>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}

Tensor as_heads(const Tensor& o) { return o.permute({0, 2, 1, 3}); }          // (B,N,H,dh) in memory, seen as (B,H,N,dh)

void check(const Qkv& in) {
  for (const Tensor& x : {in.q, in.k, in.v}) {
    if (!x.defined()) throw Error("attention: an undefined tensor was given");
    if (x.rank() != 4) throw ShapeError("attention: wants (B,H,N,dh), got " + to_string(x.shape()));
    if (x.dtype() != in.q.dtype()) throw DTypeError("attention: q, k and v have different element types");
  }
  if (in.k.shape() != in.v.shape() || in.q.shape().with(2, in.k.dim(2)) != in.k.shape())
    throw ShapeError("attention: q " + to_string(in.q.shape()) + ", k " + to_string(in.k.shape()) + ", v " + to_string(in.v.shape()) +
                     " disagree in more than the number of queries");
  common_device(name, {&in.q, &in.k, &in.v});
  if ((in.k.dim(2) == 0 && in.q.dim(2) > 0) || in.q.dim(3) == 0)
    throw ShapeError("attention: no keys, or heads of width 0, in k " + to_string(in.k.shape()));
}

template <class T> kernels::Attention<T> arguments(const Qkv& in, const Tensor& o, const Tensor& lse) {
  const Shape& s = in.q.shape();
  return {s[0], s[1], s[2], in.k.dim(2), s[3], static_cast<T>(1 / std::sqrt(static_cast<double>(s[3]))), heads_of<const T>(in.q),
          heads_of<const T>(in.k), heads_of<const T>(in.v), heads_of<T>(as_heads(o)), lse.data<T>()};
}

Qkv samples(const Qkv& x, std::int64_t begin, std::int64_t end) {
  return {x.q.slice(0, begin, end), x.k.slice(0, begin, end), x.v.slice(0, begin, end)};
}

AttentionSaved allocate_for(const Qkv& in, DType compute) {
  const Shape& s = in.q.shape();
  return {Tensor::empty({s[0], s[2], s[1], s[3]}, compute, in.q.device()), Tensor::empty({s[0], s[1], s[2]}, compute, in.q.device())};
}

// Products of a pass (two in the value; the tangent has four more, the pull five): 2 N M dh multiply-adds each, for every head.
void count_attention(const Qkv& in, double products, std::initializer_list<const Tensor*> more) {
  const Shape& s = in.q.shape();
  count_work(products * 2 * static_cast<double>(s[0] * s[1] * s[2]) * static_cast<double>(in.k.dim(2) * s[3]), 0);
  count_traffic({&in.q, &in.k, &in.v});
  count_traffic(more);
}

// The kernels cut at least one query of one head; where there is none, there is nothing to compute.
bool no_work(const Tensor& o) { return o.numel() == 0; }

void forward(const Qkv& in, const Tensor& o, const Tensor& lse) {
  if (no_work(o)) return;
  count_attention(in, 2, {&o});
  with_compute_type(o.dtype(), [&]<class T>(T) { attention_kernels(o.device()).of<T>().forward(arguments<T>(in, o, lse)); });
}

}  // namespace

Qkv split_qkv(const Tensor& qkv, int heads, const char* op) {
  if (qkv.rank() != 3 || heads < 1 || qkv.dim(2) == 0 || qkv.dim(2) % (3 * heads) != 0)
    throw ShapeError(std::string(op) + ": qkv of shape " + to_string(qkv.shape()) + " is not (B, N, 3 x " + std::to_string(heads) + " heads x dh)");
  const Tensor parts = qkv.reshape({qkv.dim(0), qkv.dim(1), 3, heads, qkv.dim(2) / (3 * heads)});
  return {as_heads(parts.select(2, 0)), as_heads(parts.select(2, 1)), as_heads(parts.select(2, 2))};
}

AttentionSaved attention_value(const Qkv& in) {
  const OpName scope(name);
  check(in);
  const DType compute = compute_type(in.q, name);
  AttentionSaved out = allocate_for(in, compute);
  forward(walkable(in, compute), out.o, out.lse);
  out.o = out.o.to(in.q.dtype());
  return out;
}

AttentionSaved attention_value_push(const Qkv& in, const Qkv& d, Tensor& d_o) {
  const OpName scope(name);
  check(in);
  const DType compute = compute_type(in.q, name);
  const Qkv x = walkable(in, compute), dx = walkable(d, compute);
  AttentionSaved out = allocate_for(in, compute);
  const std::int64_t all = x.q.dim(0), k = dx.q.defined() ? dx.q.dim(0) : dx.k.defined() ? dx.k.dim(0) : dx.v.dim(0);
  common_device(name, {&x.q, &dx.q, &dx.k, &dx.v});
  d_o = Tensor::empty(out.o.shape().with(0, k), compute, x.q.device());
  count_attention(samples(x, 0, k), 6, {&dx.q, &dx.k, &dx.v, &d_o, &d_o});
  if (!no_work(d_o)) with_compute_type(compute, [&]<class T>(T) {
    attention_kernels(d_o.device()).of<T>().forward_tangent(
        arguments<T>(samples(x, 0, k), out.o.slice(0, 0, k), out.lse.slice(0, 0, k)),
        {heads_of<const T>(dx.q), heads_of<const T>(dx.k), heads_of<const T>(dx.v), heads_of<T>(as_heads(d_o))});
  });
  if (k < all) forward(samples(x, k, all), out.o.slice(0, k, all), out.lse.slice(0, k, all));
  out.o = out.o.to(in.q.dtype());
  d_o = d_o.to(in.q.dtype());
  return out;
}

void attention_pull(const Qkv& in, const AttentionSaved& saved, const Tensor& go, const Qkv& g) {
  const OpName scope(name);
  common_device(name, {&in.q, &saved.o, &go, &g.q, &g.k, &g.v});
  const DType compute = compute_type(in.q, name);
  if (no_work(saved.o)) {                                        // nobody asked, so neither keys nor values matter
    for (const Tensor& x : {g.q, g.k, g.v})
      if (x.defined()) x.fill(0);
    return;
  }
  const Qkv x = walkable(in, compute);
  const Tensor o = widen(saved.o, compute, name), wide_go = widen(go, compute, name).contiguous();
  count_attention(x, 5, {&o, &wide_go, &g.q, &g.k, &g.v});
  with_compute_type(compute, [&]<class T>(T) {
    attention_kernels(o.device()).of<T>().backward(arguments<T>(x, o, saved.lse),
                                              {heads_of<const T>(as_heads(wide_go)), heads_of<T>(g.q), heads_of<T>(g.k), heads_of<T>(g.v)});
  });
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) { return as_heads(attention_value({q, k, v}).o); }

Tensor attention_qkv(const Tensor& qkv, int heads) {
  const Tensor wide = widen(qkv, compute_type(qkv, name), name);                // once, rather than three strided parts
  return attention_value(split_qkv(wide, heads)).o.reshape({qkv.dim(0), qkv.dim(1), qkv.dim(2) / 3}).to(qkv.dtype());
}

namespace {

Tensor rope(const Tensor& x, int heads, const Tensor& cos, const Tensor& sin, bool transposed) {
  constexpr const char* op = "rope_qkv";
  const OpName scope(op);
  const DType compute = compute_type(x, op);
  const Shape head = split_qkv(x, heads, op).q.shape();
  const Shape table{head[2], head[3]};
  if (head[3] % 2 != 0) throw ShapeError("rope_qkv: heads of odd width " + std::to_string(head[3]) + " have no pairs of channels");
  if (cos.shape() != table || sin.shape() != table)
    throw ShapeError("rope_qkv: tables " + to_string(cos.shape()) + " and " + to_string(sin.shape()) + ", want " + to_string(table));
  const Tensor in = x.contiguous(), c = cos.to(compute).contiguous(), s = sin.to(compute).contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), common_device(op, {&x, &cos, &sin}));
  count_traffic({&in, &y});
  with_activations(x, [&]<class T, class S>(T, S, const auto& kernels) {
    const rows::Rope<T> args{head[0], head[2], 3, 2, head[1], head[3], c.data<T>(), s.data<T>()};
    (transposed ? kernels.rope_pull : kernels.rope_value)(args, in.data<S>(), y.data<S>());
  });
  return y;
}

}  // namespace

Tensor rope_qkv(const Tensor& qkv, int heads, const Tensor& cos, const Tensor& sin) { return rope(qkv, heads, cos, sin, false); }
Tensor rope_qkv_transposed(const Tensor& gy, int heads, const Tensor& cos, const Tensor& sin) { return rope(gy, heads, cos, sin, true); }

}  // namespace fm
