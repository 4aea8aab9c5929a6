// The pre-norm block of vision transformers:   h += l1 Attn(LN h),   h += l2 W2 f(W1 LN h),   f a GELU
//
// The residual stream h has x's type. The outputs of the norms, which the products read, have the type `type`: x's type, or bf16 for an f32 x.
//
// Published models name the parts of the block differently, so each model derives from it and lists the parts under its own names.
#pragma once

#include "nn/layers/attention.h"
#include "nn/layers/mlp.h"

namespace fm {

struct VitBlock {
  LayerNorm norm1, norm2;
  VitAttention attention;
  Mlp mlp;
  Parameter scale1, scale2;                      // l1, l2 (width); absent without layer scale

  VitBlock(std::int64_t width, std::int64_t heads, std::int64_t mlp_width, double eps, bool layer_scale,
           Activation activation = Activation::gelu);
  Var operator()(const Var& x, DType type) const;            // (B,N,width) -> (B,N,width)

  // The names of Hugging Face's ViT and ViTMAE, which RAE's decoder has too; for blocks without layer scale.
  template <class V> void visit_hf_vit(V&& v) {
    v("attention", attention);
    v("intermediate.dense", mlp.fc1);
    v("output.dense", mlp.fc2);
    v("layernorm_before", norm1);
    v("layernorm_after", norm2);
  }
};

}  // namespace fm
