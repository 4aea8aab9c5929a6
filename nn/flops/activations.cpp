#include "nn/flops/activations.h"

#include <algorithm>

namespace fm {
namespace {

struct BlockShape {
  std::int64_t width, hidden, heads, tokens, modulated_rows;
};

constexpr std::int64_t stream = 4;                  // bytes of an element of the residual stream: f32 in both precisions

// Kept inside a block, its input included; `item` bytes for each element of a branch. Statistics of norms and softmax are f32.
std::int64_t block_bytes(const BlockShape& b, std::int64_t item) {
  const std::int64_t branches = b.tokens * (6 * b.width + 2 * b.hidden) + 6 * b.modulated_rows * b.width;
  return branches * item + b.tokens * (b.width * stream + b.heads * 4);
}

}  // namespace

ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t batch) {
  const DitDhConfig c = checked_config(config, "DitDh");
  const std::int64_t side = c.input_size / c.patch_size, tokens = side * side * batch, item = c.precision == "bf16" ? 2 : 4;
  const BlockShape backbone{c.width, SwiGluFfn::hidden_width(c.width, c.mlp_ratio), c.heads, tokens, batch};
  const BlockShape head{c.head_width, SwiGluFfn::hidden_width(c.head_width, c.mlp_ratio), c.head_heads, tokens, tokens};
  ActivationBytes a;
  a.one_block = std::max(block_bytes(backbone, item), block_bytes(head, item));
  const auto kept = [&](const BlockShape& b) { return c.recompute ? b.tokens * b.width * stream : block_bytes(b, item); };
  a.kept = c.depth * kept(backbone) + c.head_depth * kept(head);
  const std::int64_t pixels = tokens * c.patch_size * c.patch_size * c.channels;
  // The latent as tokens; s + te before and after its SiLU; the projected condition before and after its SiLU; the final layer's input,
  // shift and scale.
  const std::int64_t around = pixels + tokens * (c.width + (c.width == c.head_width ? 3 : 4) * c.head_width);
  a.kept += around * item + tokens * (c.width + c.head_width) * stream + 2 * pixels * 4;      // the output's residual, and its square's slope
  return a;
}

}  // namespace fm
