#include "nn/flops/activations.h"

#include <algorithm>

namespace fm {
namespace {

// Exact where the result is below 2^53.
struct BlockShape {
  double width, hidden, heads, tokens, modulated_rows;
};

constexpr double stream = 4;                        // bytes of an element of the residual stream: f32 in both precisions

std::int64_t bounded(double bytes) { return static_cast<std::int64_t>(std::min(bytes, 0x1p60)); }

// Kept inside a block, its input included; `item` bytes for each element of a branch. Statistics of norms and softmax are f32.
double block_bytes(const BlockShape& b, double item) {
  const double branches = b.tokens * (6 * b.width + 2 * b.hidden) + 6 * b.modulated_rows * b.width;
  return branches * item + b.tokens * (b.width * stream + b.heads * 4);
}

}  // namespace

ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t batch) {
  const DitDhConfig c = checked_config(config, "DitDh");
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double side = real(c.input_size / c.patch_size), rows = real(batch), tokens = side * side * rows;
  const double item = c.precision == "bf16" ? 2 : 4, width = real(c.width), head_width = real(c.head_width);
  const BlockShape backbone{width, real(SwiGluFfn::hidden_width(c.width, c.mlp_ratio)), real(c.heads), tokens, rows};
  const BlockShape head{head_width, real(SwiGluFfn::hidden_width(c.head_width, c.mlp_ratio)), real(c.head_heads), tokens, tokens};
  ActivationBytes a;
  a.one_block = bounded(std::max(block_bytes(backbone, item), block_bytes(head, item)));
  const auto kept = [&](const BlockShape& b) { return c.recompute ? b.tokens * b.width * stream : block_bytes(b, item); };
  const double pixels = tokens * real(c.patch_size * c.patch_size * c.channels);
  // The latent as tokens; s + te before and after its SiLU; the projected condition before and after its SiLU; the final layer's input,
  // shift and scale.
  const double around = pixels + tokens * (width + (c.width == c.head_width ? 3 : 4) * head_width);
  a.kept = bounded(real(c.depth) * kept(backbone) + real(c.head_depth) * kept(head) + around * item + tokens * (width + head_width) * stream +
                   2 * pixels * 4);              // the output's residual, and its square's slope
  return a;
}

ActivationBytes activation_bytes(const FlowMlpConfig& config, std::int64_t batch) {
  const FlowMlpConfig c = checked_config(config, "FlowMlp");
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  ActivationBytes a;                     // the last term is the output's residual, and its square's slope
  a.kept = bounded(4 * real(batch) * (real(c.inputs()) + 2 * real(c.depth) * real(c.width) + 2 * real(c.dim)));
  return a;
}

}  // namespace fm
