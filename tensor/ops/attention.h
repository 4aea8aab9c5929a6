// Streaming attention, softmax(q k^T / sqrt(dh)) v, which never holds all scores at a time. bf16 inputs are computed in f32.
//
// q (B,H,Nq,dh), k and v (B,H,Nk,dh) may be strided views with a contiguous last dimension: parts of a packed qkv, or transposed (B,N,H,dh).
// Results lie in memory as (B,N,H,dh), whatever the strides of q, k and v. Without queries the result is empty. Without keys ShapeError, because
// a softmax over no elements has no value.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct Qkv {
  Tensor q, k, v;
};

// Returns views (B,H,N,dh) of a packed qkv (B,N,3C), whose columns are q | k | v and, within each, head by head. ShapeError if 3 H does not
// divide the number of columns.
Qkv split_qkv(const Tensor& qkv, int heads, const char* op = "attention_qkv");

struct AttentionSaved {
  Tensor o;                              // (B,N,H,dh)
  Tensor sums;                           // (B,H,2,N): two numbers for each row of scores (kernels/attention.h), in the type of the computation
};

AttentionSaved attention_value(const Qkv& in);
// Computes the value of all samples and, in the same sweep, the tangent d_o (k,N,H,dh) of the first k. `d` holds tangents of k samples each;
// undefined ones stand for zero.
AttentionSaved attention_value_push(const Qkv& in, const Qkv& d, Tensor& d_o);
// Writes the cotangents of q, k and v into the views g (B,H,N,dh), whose type must be that of the computation. The cotangent for an undefined
// view is not computed. go (B,N,H,dh) is the cotangent of the result.
void attention_pull(const Qkv& in, const AttentionSaved& saved, const Tensor& go, const Qkv& g);

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v);                       // (B,H,Nq,dh)
Tensor attention_qkv(const Tensor& qkv, int heads);                                        // (B,N,3C) -> (B,N,C)

// Rotary embedding of q and k in a packed qkv (B,N,3C); v is unchanged. cos and sin are (N,dh), of any floating type. With a = x[2m] and
// b = x[2m+1] of a head: out[2m] = a cos - b sin, out[2m+1] = b cos + a sin.
Tensor rope_qkv(const Tensor& qkv, int heads, const Tensor& cos, const Tensor& sin);
Tensor rope_qkv_transposed(const Tensor& gy, int heads, const Tensor& cos, const Tensor& sin);

}  // namespace fm
