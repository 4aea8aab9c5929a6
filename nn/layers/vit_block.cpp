#include "nn/layers/vit_block.h"

#include "autodiff/rules/activation.h"
#include "autodiff/rules/linear.h"

namespace fm {

VitBlock::VitBlock(std::int64_t width, std::int64_t heads, std::int64_t mlp_width, double eps, bool layer_scale,
                   Activation activation)
    : norm1(width, eps), norm2(width, eps), attention(width, heads), mlp(width, mlp_width, activation) {
  if (layer_scale) scale1 = make_parameter({width}), scale2 = make_parameter({width});
}

Var VitBlock::operator()(const Var& x, DType type) const {
  const auto add_scaled = [](const Var& base, const Var& h, const Parameter& scale) {
    if (!scale.value.defined()) return base + h;
    return gated_residual(base, h, expand(unsqueeze(scale, 0), {base.dim(0), base.dim(2)}));
  };
  const Var h = add_scaled(x, attention(norm1(x, type), x.dtype()), scale1);
  return add_scaled(h, mlp(norm2(h, type), h.dtype()), scale2);
}

}  // namespace fm
