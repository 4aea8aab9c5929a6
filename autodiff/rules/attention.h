// Attention and rotary embedding (equations and layouts: tensor/ops/attention.h). Streaming kernels compute the
// value, or value and tangent in one sweep, and the cotangents. They store neither the matrix of scores nor copies of q, k and v.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/attention.h"

namespace fm {

Var attention_qkv(const Var& qkv, int heads);                                        // (B,N,3C) -> (B,N,C)
Var attention(const Var& q, const Var& k, const Var& v);                             // (B,H,Nq,dh), (B,H,Nk,dh) twice -> (B,H,Nq,dh)
Var rope_qkv(const Var& qkv, int heads, const Tensor& cos, const Tensor& sin);       // tables (N,dh), constants

Var attention_qkv_reference(const Var& qkv, int heads);
Var attention_reference(const Var& q, const Var& k, const Var& v);
Var rope_qkv_reference(const Var& qkv, int heads, const Tensor& cos, const Tensor& sin);

}  // namespace fm
