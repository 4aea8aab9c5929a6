#include "nn/models/dit.h"

#include <fmt/format.h>

#include "autodiff/recompute.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/layers/positions.h"

namespace fm {

namespace {

constexpr double norm_eps = 1e-6;

void xavier(const Init& init, const std::string& name, Linear& layer) {
  init.xavier(name + ".weight", layer.weight);
  fill(layer.bias, 0);
}

}  // namespace

DitConfig checked(const DitConfig& config) {
  const DitConfig c = checked_config(config, "Dit");
  if (c.width % 4 != 0)
    throw ConfigError(fmt::format("Dit: width = {} is not a multiple of 4: positions have a sine and a cosine for each of two axes", c.width));
  if (c.hidden_width() < 1) throw ConfigError(fmt::format("Dit: mlp_ratio = {} at width {} gives no hidden channel: raise one of them", c.mlp_ratio, c.width));
  return c;
}

AdaLnBlock::AdaLnBlock(std::int64_t width, std::int64_t heads, std::int64_t hidden)
    : norm1(width, norm_eps, false),
      norm2(width, norm_eps, false),
      attn(width, heads),
      mlp(width, hidden, Activation::gelu_tanh),
      modulation(width, 6) {}

void AdaLnBlock::reset(const Init& init) {
  xavier(init, "attn.qkv", attn.qkv);
  xavier(init, "attn.proj", attn.proj);
  xavier(init, "mlp.fc1", mlp.fc1);
  xavier(init, "mlp.fc2", mlp.fc2);
}

Var AdaLnBlock::operator()(const Var& x, const Var& activated) const {
  const std::vector<Var> m = modulation(activated);       // shift, scale, gate of attention, then of the MLP
  Var branch = attn(norm1.modulated(x, m[0], m[1]));
  const Var h = gated_residual(x, branch, m[2]);
  Recomputed normed = norm2.modulated(h, m[3], m[4]);
  if (Tape::current())                                    // the tape keeps the three operands of h, so it need not keep h
    normed.first_input = [x = x.value(), branch = branch.value(), gate = m[2].value()] { return gated_residual(x, branch, gate); };
  branch = Var();
  return gated_residual(h, mlp(normed), m[5]);
}

AdaLnFinalLayer::AdaLnFinalLayer(std::int64_t width, std::int64_t out_width)
    : norm(width, norm_eps, false), out(width, out_width), modulation(width, 2) {}

void AdaLnFinalLayer::reset(const Init&) {
  fill(out.weight, 0);
  fill(out.bias, 0);
}

Var AdaLnFinalLayer::operator()(const Var& x, const Var& activated, DType result) const {
  const std::vector<Var> m = modulation(activated);
  return linear(norm.modulated(x, m[0], m[1]), out.weight, out.bias, result);
}

Dit::Dit(const DitConfig& c, std::uint64_t seed)
    : config(checked(c)),
      position_table{sin_cos_positions(c.side(), c.side(), c.width).unsqueeze(0), false},
      x_embedder(c.channels, c.patch_size, c.width),
      t_embedder(c.width, c.time_scale),
      y_embedder(c.classes, c.width),
      final_layer(c.width, c.patch_size * c.patch_size * c.out_channels()) {
  if (c.mean_flow) r_embedder.emplace(c.width, c.time_scale);
  blocks.reserve(static_cast<std::size_t>(c.depth));
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c.width, c.heads, c.hidden_width());
  reset_parameters(*this, seed);
}

// The parts set their own values; all others start as in the published code.
void Dit::reset(const Init& init) {
  init.xavier("x_embedder.proj.weight", x_embedder.weight);
  fill(x_embedder.bias, 0);
}

Var Dit::times(const Var& t) const {
  const Var te = t_embedder(t);
  return r_embedder ? te + (*r_embedder)(Tensor::zeros(t.shape(), t.dtype())) : te;
}

Var Dit::operator()(const Var& x, const Var& t, const Tensor& labels) const { return velocity(all_channels(x, t, labels)); }

Var Dit::all_channels(const Var& x, const Var& t, const Tensor& labels) const { return forward(x, times(t), labels); }

Var Dit::operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const {
  if (!r_embedder) throw ConfigError("Dit: called with two times, but the model was made for one; set mean_flow in its config");
  return velocity(forward(x, t_embedder(t) + (*r_embedder)(t - s), labels));
}

Var Dit::velocity(const Var& channels) const { return config.learn_sigma ? slice(channels, 1, 0, config.channels) : channels; }

Var Dit::forward(const Var& x, const Var& embedded_times, const Tensor& labels) const {
  const std::int64_t b = embedded_times.dim(0);
  const Shape wanted{b, config.channels, config.input_size, config.input_size};
  if (x.shape() != wanted) throw ShapeError("Dit: the input has shape " + to_string(x.shape()) + ", but must have shape " + to_string(wanted));
  const Tensor y = labels.defined() ? labels : Tensor::full({b}, static_cast<double>(y_embedder.null_label()), DType::i64);
  const DType type = block_type(config.precision, x), stream = x.dtype();
  const Var activated = cast(silu(embedded_times + y_embedder(y)), type);

  Var h = x_embedder.project(patchify(cast(x, type), config.patch_size), stream) + cast(position_table, stream);
  for (std::size_t i = 0; i < blocks.size(); ++i) h = run_block(i, h, activated);
  const ModulePath path("final_layer");
  return unpatchify(final_layer(h, activated, x.dtype()), config.side(), config.side(), config.patch_size);
}

Var Dit::run_block(std::size_t i, const Var& x, const Var& activated) const {
  const ModulePath path("blocks." + std::to_string(i));
  if (!config.recompute) return blocks[i](x, activated);
  return recompute([&block = blocks[i]](const Var& h, const Var& c) { return block(h, c); }, x, activated);
}

}  // namespace fm
