// Streaming attention softmax(q k^T / sqrt(dh)) v: the scores never exist as a whole. bf16 inputs are computed in f32.
//
// q (B,H,Nq,dh), k and v (B,H,Nk,dh) may be strided views with a contiguous last dimension: parts of a packed qkv, or transposed (B,N,H,dh).
// Results are (B,N,H,dh) in memory, for every view. No queries give no results; no keys are a ShapeError, because a softmax over nothing has
// no value.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct Qkv {
  Tensor q, k, v;
};

// Views (B,H,N,dh) of a packed qkv (B,N,3C), its columns ordered q | k | v, each head by head. ShapeError if 3 H does not divide the columns.
Qkv split_qkv(const Tensor& qkv, int heads, const char* op = "attention_qkv");

struct AttentionSaved {
  Tensor o;                              // (B,N,H,dh)
  Tensor sums;                           // (B,H,2,N) of the scaled scores, in the type of the computation (kernels/attention.h)
};

AttentionSaved attention_value(const Qkv& in);
// Value, and the tangent d_o (k,N,H,dh) of the first k samples, in one sweep. Tangents of k samples; undefined ones are zero.
AttentionSaved attention_value_push(const Qkv& in, const Qkv& d, Tensor& d_o);
// Cotangents into the given (B,H,N,dh) views, of the type of the computation; undefined ones are not computed. go (B,N,H,dh).
void attention_pull(const Qkv& in, const AttentionSaved& saved, const Tensor& go, const Qkv& g);

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v);                       // (B,H,Nq,dh)
Tensor attention_qkv(const Tensor& qkv, int heads);                                        // (B,N,3C) -> (B,N,C)

// Rotary embedding of q and k in a packed qkv (B,N,3C), v unchanged. cos and sin (N,dh), any floating type. Pairs of channels (2m, 2m+1) of
// each head: out[2m] = a cos - b sin, out[2m+1] = b cos + a sin.
Tensor rope_qkv(const Tensor& qkv, int heads, const Tensor& cos, const Tensor& sin);
Tensor rope_qkv_transposed(const Tensor& gy, int heads, const Tensor& cos, const Tensor& sin);

}  // namespace fm
