#include "autodiff/rules/attention.h"

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/fused.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/softmax.h"

namespace fm {
namespace {

// bf16 is converted to the compute type as a whole, before it is split into q, k and v.
Tensor widened(const Tensor& x) { return widen(x, compute_type(x, "attention"), "attention"); }

Tensor joined(const Tensor& o) { return o.reshape({o.dim(0), o.dim(1), o.dim(2) * o.dim(3)}); }            // (B,N,H,dh) -> (B,N,C)
Tensor as_heads(const Tensor& o) { return o.permute({0, 2, 1, 3}); }

}  // namespace

Var attention_qkv(const Var& qkv, int heads) {
  if (use_reference({&qkv})) return attention_qkv_reference(qkv, heads);
  const Tensor x = qkv.value();
  const Qkv in = split_qkv(widened(x), heads);
  Tensor d_o;
  AttentionSaved saved = qkv.has_tangent() ? attention_value_push(in, split_qkv(widened(qkv.tangent().value()), heads), d_o) : attention_value(in);
  saved.o = saved.o.to(x.dtype());
  const Var y = record("attention_qkv", joined(saved.o), {&qkv}, [=](const Tensor& gy, Cotangents& g) {
    const Tensor wide_x = widened(x), gx = Tensor::empty(x.shape(), wide_x.dtype(), x.device());
    attention_pull(split_qkv(wide_x, heads), saved, gy.reshape(saved.o.shape()), split_qkv(gx, heads));
    g.add(0, gx.to(x.dtype()));
  });
  return qkv.has_tangent() ? y.with_tangent(joined(d_o.to(x.dtype()))) : y;
}

Var attention(const Var& q, const Var& k, const Var& v) {
  if (use_reference({&q, &k, &v})) return attention_reference(q, k, v);
  const Qkv in{q.value(), k.value(), v.value()};
  TangentRows t;
  for (const Var* x : {&q, &k, &v}) t.include(*x, true, q.rank() ? q.dim(0) : 0);
  Tensor d_o;
  AttentionSaved saved;
  if (t.any()) {
    const PauseTape pause;
    saved = attention_value_push(in, {value_of(t.tangent(q, true)), value_of(t.tangent(k, true)), value_of(t.tangent(v, true))}, d_o);
  } else {
    saved = attention_value(in);
  }
  const Var y = record("attention", as_heads(saved.o), {&q, &k, &v}, [=](const Tensor& gy, Cotangents& g) {
    const DType compute = compute_type(in.q, "attention");
    // Gradients are stored as (B,N,H,dh), the layout of the projections that made q, k and v.
    const auto space = [&](std::size_t i, const Tensor& x) {
      return g.wants(i) ? as_heads(Tensor::empty({x.dim(0), x.dim(2), x.dim(1), x.dim(3)}, compute, x.device())) : Tensor();
    };
    const Qkv out{space(0, in.q), space(1, in.k), space(2, in.v)};
    attention_pull(in, saved, gy.permute({0, 2, 1, 3}), out);
    if (g.wants(0)) g.add(0, out.q.to(in.q.dtype()));
    if (g.wants(1)) g.add(1, out.k.to(in.k.dtype()));
    if (g.wants(2)) g.add(2, out.v.to(in.v.dtype()));
  });
  return t.any() ? y.with_tangent(as_heads(d_o)) : y;
}

Var attention_reference(const Var& q_any, const Var& k, const Var& v) {
  const DType compute = compute_type(q_any.value(), "attention");
  const Var q = wide(q_any, compute) * (1 / std::sqrt(static_cast<double>(q_any.dim(3))));
  return cast(matmul(softmax_reference(matmul(q, transpose(wide(k, compute), 2, 3))), wide(v, compute)), q_any.dtype());
}

Var attention_qkv_reference(const Var& qkv, int heads) {
  split_qkv(qkv.value(), heads);                            // for its checks of shapes
  const std::int64_t b = qkv.dim(0), n = qkv.dim(1), c = qkv.dim(2) / 3;
  const Var parts = reshape(qkv, {b, n, 3, heads, c / heads});
  const auto part = [&](int i) { return transpose(select(parts, 2, i), 1, 2); };
  return reshape(transpose(attention_reference(part(0), part(1), part(2)), 1, 2), {b, n, c});
}

Var rope_qkv(const Var& qkv, int heads, const Tensor& cos, const Tensor& sin) {       // linear: push is the op, pull its transpose
  const Var y = record("rope_qkv", rope_qkv(qkv.value(), heads, cos, sin), {&qkv},
                       [=](const Tensor& gy, Cotangents& g) { g.add(0, rope_qkv_transposed(gy, heads, cos, sin)); });
  if (!qkv.has_tangent()) return y;
  return y.with_tangent(push([&] { return rope_qkv(qkv.tangent(), heads, cos, sin); }));
}

Var rope_qkv_reference(const Var& qkv_any, int heads, const Tensor& cos, const Tensor& sin) {
  const DType compute = compute_type(qkv_any.value(), "rope_qkv");
  const Var qkv = wide(qkv_any, compute);
  const std::int64_t b = qkv.dim(0), n = qkv.dim(1), dh = qkv.dim(2) / (3 * heads);
  const Var parts = reshape(qkv, {b, n, 3, heads, dh}), qk = slice(parts, 2, 0, 2), pairs = reshape(qk, {b, n, 2, heads, dh / 2, 2});
  const Var turned = reshape(concat({-slice(pairs, 5, 1, 2), slice(pairs, 5, 0, 1)}, 5), qk.shape());
  const auto table = [&](const Tensor& t) { return Var(t.to(compute).reshape({n, 1, 1, dh})); };
  return cast(reshape(concat({qk * table(cos) + turned * table(sin), slice(parts, 2, 2, 3)}, 2), qkv.shape()), qkv_any.dtype());
}

}  // namespace fm
