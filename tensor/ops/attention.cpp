#include "tensor/ops/attention.h"

#include <cmath>

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

constexpr const char* attention_name = "attention";

// Returns x in the type of the computation, with a contiguous last dimension, as the kernels need it.
Tensor walkable(const Tensor& x, DType compute) {
  if (!x.defined()) return x;
  const Tensor wide = widen(x, compute, attention_name);
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
    if (!x.defined()) throw Error("attention: q, k or v is undefined");
    if (x.rank() != 4) throw ShapeError("attention: q, k and v must be (B,H,N,dh), got " + to_string(x.shape()));
    if (x.dtype() != in.q.dtype()) throw DTypeError("attention: q, k and v have different element types");
  }
  if (in.k.shape() != in.v.shape() || in.q.shape().with(2, in.k.dim(2)) != in.k.shape())
    throw ShapeError("attention: q " + to_string(in.q.shape()) + ", k " + to_string(in.k.shape()) + ", v " + to_string(in.v.shape()) +
                     " must have equal shapes, except that q may have another number of tokens");
  common_device(attention_name, {&in.q, &in.k, &in.v});
  if ((in.k.dim(2) == 0 && in.q.dim(2) > 0) || in.q.dim(3) == 0)
    throw ShapeError("attention: there must be at least one key, and heads at least one channel wide, but k is " + to_string(in.k.shape()));
}

template <class T> kernels::Attention<T> arguments(const Qkv& in, const Tensor& o, const Tensor& sums) {
  const Shape& s = in.q.shape();
  return {s[0], s[1], s[2], in.k.dim(2), s[3], static_cast<T>(1 / std::sqrt(static_cast<double>(s[3]))), heads_of<const T>(in.q),
          heads_of<const T>(in.k), heads_of<const T>(in.v), heads_of<T>(as_heads(o)), sums.data<T>()};
}

Qkv samples(const Qkv& x, std::int64_t begin, std::int64_t end) {
  return {x.q.slice(0, begin, end), x.k.slice(0, begin, end), x.v.slice(0, begin, end)};
}

// Returns the number of samples of the tangents. Defined tangents must agree on it and fit the inputs.
std::int64_t tangent_samples(const Qkv& x, const Qkv& d) {
  const Tensor& any = d.q.defined() ? d.q : d.k.defined() ? d.k : d.v;
  check_defined(any, attention_name);
  const std::int64_t k = any.rank() == 4 ? any.dim(0) : -1;
  if (k > x.q.dim(0)) check_shape(any, x.q.shape(), attention_name);
  check_shape(d.q, x.q.shape().with(0, k), attention_name);
  check_shape(d.k, x.k.shape().with(0, k), attention_name);
  check_shape(d.v, x.v.shape().with(0, k), attention_name);
  return k;
}

// Checks destinations of gradients: the shape and the type of the computation, a last dimension that kernels can walk, no overlap with inputs.
void check_gradients(const Qkv& x, const AttentionSaved& saved, const Tensor& go, const Qkv& g) {
  const Tensor* like[] = {&x.q, &x.k, &x.v};
  const Tensor* to[] = {&g.q, &g.k, &g.v};
  check_defined(go, attention_name);
  check_shape(go, saved.o.shape(), attention_name);
  for (int i = 0; i < 3; ++i) {
    if (!to[i]->defined()) continue;
    check_shape(*to[i], like[i]->shape(), attention_name);
    if (to[i]->dtype() != compute_type(x.q, attention_name) || (to[i]->strides()[3] != 1 && to[i]->dim(3) != 1))
      throw DTypeError(std::string(attention_name) + ": gradients must have type " + name_of(compute_type(x.q, attention_name)) +
                       " and a contiguous last dimension");
    check_writable(*to[i], attention_name);
    for (const Tensor* from : {&x.q, &x.k, &x.v, &saved.o, &go})
      if (shares_addresses(*to[i], *from)) throw ShapeError(std::string(attention_name) + ": the memory of a gradient overlaps an operand");
  }
}

AttentionSaved allocate_for(const Qkv& in, DType compute) {
  const Shape& s = in.q.shape();
  return {Tensor::empty({s[0], s[2], s[1], s[3]}, compute, in.q.device()), Tensor::empty({s[0], s[1], 2, s[2]}, compute, in.q.device())};
}

// Counts `products` matrix products for every head, of N M dh multiply-adds each. The value has two, its tangent four more, the pull five.
void count_attention(const Qkv& in, double products, std::initializer_list<const Tensor*> more) {
  const Shape& s = in.q.shape();
  count_work(products * 2 * static_cast<double>(s[0] * s[1] * s[2]) * static_cast<double>(in.k.dim(2) * s[3]), 0);
  count_traffic({&in.q, &in.k, &in.v});
  count_traffic(more);
}

// The kernels need at least one query of one head; without queries there is nothing to compute.
bool no_work(const Tensor& o) { return o.numel() == 0; }

void forward(const Qkv& in, const Tensor& o, const Tensor& sums) {
  if (no_work(o)) return;
  count_attention(in, 2, {&o});
  with_compute_type(o.dtype(), [&]<class T>(T) { attention_kernels(o.device()).of<T>().forward(arguments<T>(in, o, sums)); });
}

}  // namespace

Qkv split_qkv(const Tensor& qkv, int heads, const char* op) {
  check_defined(qkv, op);
  if (qkv.rank() != 3 || heads < 1 || qkv.dim(2) == 0 || heads > qkv.dim(2) / 3 || qkv.dim(2) % (3 * heads) != 0)
    throw ShapeError(std::string(op) + ": qkv of shape " + to_string(qkv.shape()) + " is not (B, N, 3 x " + std::to_string(heads) + " heads x dh)");
  const Tensor parts = qkv.reshape({qkv.dim(0), qkv.dim(1), 3, heads, qkv.dim(2) / (3 * heads)});
  return {as_heads(parts.select(2, 0)), as_heads(parts.select(2, 1)), as_heads(parts.select(2, 2))};
}

AttentionSaved attention_value(const Qkv& in) {
  const OpName scope(attention_name);
  check(in);
  const DType compute = compute_type(in.q, attention_name);
  AttentionSaved out = allocate_for(in, compute);
  forward(walkable(in, compute), out.o, out.sums);
  out.o = out.o.to(in.q.dtype());
  return out;
}

AttentionSaved attention_value_push(const Qkv& in, const Qkv& d, Tensor& d_o) {
  const OpName scope(attention_name);
  check(in);
  const DType compute = compute_type(in.q, attention_name);
  const Qkv x = walkable(in, compute), dx = walkable(d, compute);
  AttentionSaved out = allocate_for(in, compute);
  const std::int64_t all = x.q.dim(0), k = tangent_samples(x, dx);
  common_device(attention_name, {&x.q, &dx.q, &dx.k, &dx.v});
  d_o = Tensor::empty(out.o.shape().with(0, k), compute, x.q.device());
  count_attention(samples(x, 0, k), 6, {&dx.q, &dx.k, &dx.v, &d_o, &d_o});
  if (!no_work(d_o)) with_compute_type(compute, [&]<class T>(T) {
    attention_kernels(d_o.device()).of<T>().forward_tangent(
        arguments<T>(samples(x, 0, k), out.o.slice(0, 0, k), out.sums.slice(0, 0, k)),
        {heads_of<const T>(dx.q), heads_of<const T>(dx.k), heads_of<const T>(dx.v), heads_of<T>(as_heads(d_o))});
  });
  if (k < all) forward(samples(x, k, all), out.o.slice(0, k, all), out.sums.slice(0, k, all));
  out.o = out.o.to(in.q.dtype());
  d_o = d_o.to(in.q.dtype());
  return out;
}

void attention_pull(const Qkv& in, const AttentionSaved& saved, const Tensor& go, const Qkv& g) {
  const OpName scope(attention_name);
  common_device(attention_name, {&in.q, &saved.o, &go, &g.q, &g.k, &g.v});
  const DType compute = compute_type(in.q, attention_name);
  check(in);
  check_gradients(in, saved, go, g);
  if (no_work(saved.o)) {                                        // there is no output, so all gradients are 0
    for (const Tensor& x : {g.q, g.k, g.v})
      if (x.defined()) x.fill(0);
    return;
  }
  const Qkv x = walkable(in, compute);
  const Tensor o = widen(saved.o, compute, attention_name), wide_go = widen(go, compute, attention_name).contiguous();
  count_attention(x, 5, {&o, &wide_go, &g.q, &g.k, &g.v});
  with_compute_type(compute, [&]<class T>(T) {
    attention_kernels(o.device()).of<T>().backward(arguments<T>(x, o, saved.sums),
                                              {heads_of<const T>(as_heads(wide_go)), heads_of<T>(g.q), heads_of<T>(g.k), heads_of<T>(g.v)});
  });
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) { return as_heads(attention_value({q, k, v}).o); }

Tensor attention_qkv(const Tensor& qkv, int heads) {
  const Tensor wide = widen(qkv, compute_type(qkv, attention_name), attention_name);                // converts once, rather than three strided parts
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
    throw ShapeError("rope_qkv: tables " + to_string(cos.shape()) + " and " + to_string(sin.shape()) + "; both must be " + to_string(table));
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
