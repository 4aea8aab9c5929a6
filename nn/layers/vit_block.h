// The pre-norm block of vision transformers:   h += l1 Attn(LN h),   h += l2 W2 gelu(W1 LN h)
//
// Published models call its parts differently: a model derives from it and lists them in its own visit, under its own names.
#pragma once

#include "nn/layers/attention.h"
#include "nn/layers/mlp.h"

namespace fm {

struct VitBlock {
  LayerNorm norm1, norm2;
  VitAttention attention;
  Mlp mlp;
  Parameter scale1, scale2;                      // l1, l2 (width); absent without layer scale

  VitBlock(std::int64_t width, std::int64_t heads, std::int64_t mlp_width, double eps, bool layer_scale);
  Var operator()(const Var& x) const;            // (B,N,width) -> (B,N,width)
};

}  // namespace fm
