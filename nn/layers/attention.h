// Self-attention over tokens, y = proj(softmax(q k^T / sqrt(dh)) v) with heads of width dh. Published models store the weights in two layouts.
#pragma once

#include <optional>

#include "nn/layers/norm.h"

namespace fm {

// One product gives q | k | v. The rows of its weight are in this order; within q, k and v they are in the order of the heads. Optionally q and k are
// normalized per head and rotated by tables of positions (nn/layers/positions.h).
struct FusedAttention {
  Linear qkv, proj;
  std::optional<RmsNorm> q_norm, k_norm;        // over one head's channels
  std::int64_t heads = 1;

  FusedAttention() = default;
  FusedAttention(std::int64_t width, std::int64_t heads_, bool qk_norm = false);
  template <class V> void visit(V&& v) {
    v("qkv", qkv);
    v("q_norm", q_norm);
    v("k_norm", k_norm);
    v("proj", proj);
  }
  // x (B,N,C), a Var or a Recomputed; tables (N,dh), or undefined for no rotation.
  template <class X> Var operator()(const X& x, const Tensor& rope_cos = {}, const Tensor& rope_sin = {}) const {
    return mixed(qkv(x), rope_cos, rope_sin);
  }

 private:
  Var mixed(Var h, const Tensor& rope_cos, const Tensor& rope_sin) const;      // h (B,N,3C): q | k | v
};

// Separate query, key and value layers under the names of Hugging Face's ViT.
struct VitAttention {
  Linear query, key, value, output;
  std::int64_t heads = 1;

  VitAttention() = default;
  VitAttention(std::int64_t width, std::int64_t heads_);
  template <class V> void visit(V&& v) {
    v("attention.query", query);
    v("attention.key", key);
    v("attention.value", value);
    v("output.dense", output);
  }
  Var operator()(const Var& x, DType result) const;         // (B,N,C) -> (B,N,C) of type `result`: x's type, or f32 for a bf16 x
};

}  // namespace fm
