#include "nn/models/dit_dh.h"

#include <fmt/format.h>

#include <algorithm>

#include "autodiff/recompute.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/layers/positions.h"

namespace fm {
namespace {

constexpr std::int64_t longest_side = 4096;             // of latents with two axes, so that products of numbers of tokens fit into 64 bits

void check_input(const DitDhConfig& c) {
  if (c.axes == 1 && c.input_width != 0)
    throw ConfigError(fmt::format("DitDh: input_width = {} is only for axes = 2; a sequence (axes = 1) has one length, input_size", c.input_width));
  if (c.axes == 2 && c.input_size > longest_side)
    throw ConfigError(fmt::format("DitDh: input_size = {} is out of range (1 to {}) for axes = 2; only a sequence (axes = 1) may be longer",
                                  c.input_size, longest_side));
  if (c.input_width % c.patch_size != 0)
    throw ConfigError(fmt::format("DitDh: patch_size = {} does not divide input_width = {}", c.patch_size, c.input_width));
}

}  // namespace

// Checks the config, including relations between more than two fields.
DitDhConfig checked(const DitDhConfig& config) {
  const DitDhConfig c = checked_config(config, "DitDh");
  check_input(c);
  for (const std::int64_t width : {c.width, c.head_width})
    if (SwiGluFfn::hidden_width(width, c.mlp_ratio) < 1)
      throw ConfigError(fmt::format("DitDh: mlp_ratio = {} at width {} gives no hidden channel: raise one of them", c.mlp_ratio, width));
  const std::int64_t multiple = 2 * c.axes;              // a sine and a cosine for each axis
  if (c.position_embed && c.width % multiple != 0)
    throw ConfigError(fmt::format("DitDh: width = {} is not a multiple of {}, which position_embed needs", c.width, multiple));
  if (!c.rope) return c;
  for (const auto& [name, dim] : {std::pair{"width / heads", c.width / c.heads}, std::pair{"head_width / head_heads", c.head_width / c.head_heads}})
    if (dim % multiple != 0) throw ConfigError(fmt::format("DitDh: {} = {} is not a multiple of {}, which rope needs", name, dim, multiple));
  return c;
}

void take_input_shape(DitDhConfig& config, const Shape& sample, const std::string& source) {
  const int axes = sample.rank() - 1;
  if (axes != 1 && axes != 2)
    throw ConfigError(fmt::format("network dit_dh models samples [channels, length] or [channels, height, width]; those of {} are {}: set network = \"mlp\"",
                                  source, to_string(sample)));
  for (int axis = 1; axis <= axes; ++axis)
    if (sample[axis] % config.patch_size != 0)
      throw ConfigError(fmt::format("dit.patch_size {} does not divide samples {} of {}: set it to a divisor of {}", config.patch_size, to_string(sample), source,
                                    axes == 1 ? fmt::format("{}", sample[1]) : fmt::format("{} and {}", sample[1], sample[2])));
  config.axes = axes, config.channels = sample[0], config.input_size = sample[1];
  config.input_width = axes == 2 && sample[2] != sample[1] ? sample[2] : 0;
}

Shape DitDhConfig::input_shape() const {
  if (axes == 1) return {channels, input_size};
  return {channels, input_size, input_width > 0 ? input_width : input_size};
}

Shape DitDhConfig::grid() const {
  Shape tokens_along;
  for (int axis = 1; axis < input_shape().rank(); ++axis) tokens_along.push_back(input_shape()[axis] / patch_size);
  return tokens_along;
}

std::int64_t DitDhConfig::early_blocks() const {
  return splits_times() ? std::clamp<std::int64_t>((depth + head_depth) * 2 / 3, 1, depth) : depth;
}

namespace {

Tensor position_values(const DitDhConfig& c) {
  const Shape grid = c.grid();
  return c.axes == 1 ? sin_cos_positions(grid[0], c.width) : sin_cos_positions(grid[0], grid[1], c.width);
}

std::pair<Tensor, Tensor> rope_of(const DitDhConfig& c, std::int64_t head_width) {
  const Shape grid = c.grid();
  return c.axes == 1 ? rope_tables(grid[0], head_width) : rope_tables(grid[0], grid[1], head_width);
}

}  // namespace

DitBlock::DitBlock(std::int64_t width, std::int64_t heads, double mlp_ratio, bool qk_norm)
    : norm1(width),
      norm2(width),
      attn(width, heads, qk_norm),
      mlp(width, SwiGluFfn::hidden_width(width, mlp_ratio)),
      modulation(width, 6) {}

Var DitBlock::operator()(const Var& x, const Var& activated, const Tensor& rope_cos, const Tensor& rope_sin) const {
  const std::vector<Var> m = modulation(activated);       // shift, scale, gate of attention, then of the MLP
  Var branch = attn(norm1.modulated(x, m[0], m[1]), rope_cos, rope_sin);
  const Var h = gated_residual(x, branch, m[2]);
  Recomputed normed = norm2.modulated(h, m[3], m[4]);
  if (Tape::current())                                    // the tape keeps the three operands of h, so it need not keep h
    normed.first_input = [x = x.value(), branch = branch.value(), gate = m[2].value()] { return gated_residual(x, branch, gate); };
  branch = Var();
  return gated_residual(h, mlp(normed), m[5]);
}

Var DitFinalLayer::operator()(const Var& x, const Var& activated, DType result) const {
  const std::vector<Var> m = modulation(activated);
  return linear(norm.modulated(x, m[0], m[1]), out.weight, out.bias, result);
}

DitDh::DitDh(const DitDhConfig& c, std::uint64_t seed)
    : config(checked(c)),
      x_embedder(c.channels, c.patch_size, c.head_width, c.axes),
      s_embedder(c.channels, c.patch_size, c.width, c.axes),
      t_embedder(c.width),
      y_embedder(c.classes, c.width),
      final_layer(c.head_width, c.token_values()) {
  if (c.position_embed) position_table = {position_values(c).unsqueeze(0), false};
  if (c.width != c.head_width) s_projector.emplace(c.width, c.head_width);
  if (c.splits_times()) late_s.value = Tensor::ones({1});
  else if (c.mean_flow) r_embedder.emplace(c.width);
  if (c.rope) {
    std::tie(backbone_cos.value, backbone_sin.value) = rope_of(c, c.width / c.heads);
    std::tie(head_cos.value, head_sin.value) = rope_of(c, c.head_width / c.head_heads);
  }
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c.width, c.heads, c.mlp_ratio, c.qk_norm);
  for (std::int64_t i = 0; i < c.head_depth; ++i) blocks.emplace_back(c.head_width, c.head_heads, c.mlp_ratio, c.qk_norm);
  reset_parameters(*this, seed);
}

// Sets the initial values that differ from PyTorch's defaults. r_embedder keeps the defaults, as in the published code.
void DitDh::reset(const Init& init) {
  init.xavier("x_embedder.proj.weight", x_embedder.weight);
  init.xavier("s_embedder.proj.weight", s_embedder.weight);
  fill(x_embedder.bias, 0);
  fill(s_embedder.bias, 0);
  init.normal("t_embedder.mlp.0.weight", t_embedder.first.weight, 0.02);
  init.normal("t_embedder.mlp.2.weight", t_embedder.second.weight, 0.02);
}

Var DitDh::operator()(const Var& x, const Var& t, const Tensor& labels) const {
  const Var te = t_embedder(t), both = r_embedder ? te + (*r_embedder)(Tensor::zeros(t.shape(), t.dtype())) : te;
  return forward(x, both, both, labels);
}

Var DitDh::operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const {
  if (config.splits_times()) return forward(x, t_embedder(t), t_embedder(s), labels);
  if (!r_embedder) throw ConfigError("DitDh: called with two times, but the model was made for one; set mean_flow in its config");
  const Var te = t_embedder(t) + (*r_embedder)(t - s);
  return forward(x, te, te, labels);
}

// `early` and `late` are the embedded times of early and late blocks: the same embedding unless late_s is on.
Var DitDh::forward(const Var& x, const Var& early, const Var& late, const Tensor& labels) const {
  const std::int64_t b = early.dim(0);
  const Shape wanted = config.input_shape().rows(b);
  if (x.shape() != wanted) throw ShapeError("DitDh: the input has shape " + to_string(x.shape()) + ", but must have shape " + to_string(wanted));
  const Tensor y = labels.defined() ? labels : Tensor::full({b}, static_cast<double>(y_embedder.null_label()), DType::i64);
  const DType type = block_type(config.precision, x), stream = x.dtype();
  const auto activate = [&](const Var& te) { return cast(silu(silu(te + y_embedder(y))), type); };       // silu twice: see the top of dit_dh.h
  const Var activated = activate(early), then = config.splits_times() ? activate(late) : activated;

  const Var tokens = patchify(cast(x, type), config.patch_size);
  Var s = s_embedder.project(tokens, stream);
  if (position_table.value.defined()) s = s + cast(position_table, stream);
  const auto depth = static_cast<std::size_t>(config.depth);
  const auto split = static_cast<std::size_t>(config.early_blocks());
  for (std::size_t i = 0; i < depth; ++i) s = run_block(i, s, i < split ? activated : then);

  s = cast(silu(s + cast(unsqueeze(late, 1), stream)), type);
  if (s_projector) s = (*s_projector)(s);
  const Var condition = silu(s);
  Var h = x_embedder.project(tokens, stream);
  for (std::size_t i = depth; i < blocks.size(); ++i) h = run_block(i, h, condition);
  const ModulePath path("final_layer");
  const Var velocity = final_layer(h, condition, x.dtype());
  const Shape grid = config.grid();
  if (config.axes == 1) return unpatchify(velocity, grid[0], config.patch_size);
  return unpatchify(velocity, grid[0], grid[1], config.patch_size);
}

Var DitDh::run_block(std::size_t i, const Var& x, const Var& activated) const {
  const ModulePath path("blocks." + std::to_string(i));
  const bool backbone = i < static_cast<std::size_t>(config.depth);
  const Tensor& cosine = (backbone ? backbone_cos : head_cos).value;
  const Tensor& sine = (backbone ? backbone_sin : head_sin).value;
  if (!config.recompute) return blocks[i](x, activated, cosine, sine);
  return recompute([&block = blocks[i], cosine, sine](const Var& h, const Var& c) { return block(h, c, cosine, sine); }, x, activated);
}

}  // namespace fm
