#include "nn/models/dit.h"

#include <fmt/format.h>

#include "autodiff/recompute.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/layers/positions.h"
#include "tensor/ops/copy.h"

namespace fm {

namespace {

constexpr double norm_eps = 1e-6;

void xavier(const Init& init, const std::string& name, Linear& layer) {
  init.xavier(name + ".weight", layer.weight);
  fill(layer.bias, 0);
}

// The row of a class token is zero.
Tensor positions(const DitConfig& c) {
  const Tensor of_patches = sin_cos_positions(c.side(), c.side(), c.width);
  return (c.class_token > 0 ? concat(std::vector<Tensor>{Tensor::zeros({1, c.width}), of_patches}, 0) : of_patches).unsqueeze(0);
}

}  // namespace

DitConfig checked(const DitConfig& config) {
  const DitConfig c = checked_config(config, "Dit");
  if (c.width % 4 != 0)
    throw ConfigError(fmt::format("Dit: width = {} is not a multiple of 4: positions have a sine and a cosine for each of two axes", c.width));
  if (c.class_token > 0 && (c.mean_flow || c.learn_sigma))
    throw ConfigError("Dit: class_token is for REG's network, which is a velocity without channels of variance: leave mean_flow and learn_sigma out");
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

AdaLnFinalLayer::AdaLnFinalLayer(std::int64_t width, std::int64_t out_width, std::int64_t class_token)
    : norm(width, norm_eps, false), out(width, out_width), modulation(width, 2) {
  if (class_token > 0) linear_cls.emplace(width, class_token);
}

void AdaLnFinalLayer::reset(const Init&) {
  fill(out.weight, 0);
  fill(out.bias, 0);
  if (!linear_cls) return;
  fill(linear_cls->weight, 0);
  fill(linear_cls->bias, 0);
}

Var AdaLnFinalLayer::operator()(const Var& x, const Var& activated, DType result) const {
  const std::vector<Var> m = modulation(activated);
  return out(norm.modulated(x, m[0], m[1]), result);
}

std::pair<Var, Var> AdaLnFinalLayer::with_class_token(const Var& x, const Var& activated, DType result) const {
  const std::vector<Var> m = modulation(activated);
  const Var first = slice(x, 1, 0, 1), others = slice(x, 1, 1, x.dim(1));
  return {select((*linear_cls)(norm.modulated(first, m[0], m[1]), result), 1, 0), out(norm.modulated(others, m[0], m[1]), result)};
}

Dit::Dit(const DitConfig& c, std::uint64_t seed)
    : config(checked(c)),
      position_table{positions(c), false},
      x_embedder(c.channels, c.patch_size, c.width),
      t_embedder(c.width, c.time_scale),
      y_embedder(c.classes, c.width),
      final_layer(c.width, c.patch_size * c.patch_size * c.out_channels(), c.class_token) {
  if (c.mean_flow && !c.shared_times) r_embedder.emplace(c.width, c.time_scale);
  if (c.class_token > 0) class_projector.emplace(c.class_token, c.width), class_norm.emplace(c.width, norm_eps);
  blocks.reserve(static_cast<std::size_t>(c.depth));
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c.width, c.heads, c.hidden_width());
  reset_parameters(*this, seed);
}

// The parts set their own values; all others start as in the published code.
void Dit::reset(const Init& init) {
  init.xavier("x_embedder.proj.weight", x_embedder.weight);
  fill(x_embedder.bias, 0);
  if (class_projector) xavier(init, "cls_projectors2", *class_projector);
}

Var Dit::times(const Var& t) const {
  const Var te = t_embedder(t);
  if (config.mean_flow && config.shared_times) return te + te;
  return r_embedder ? te + (*r_embedder)(Tensor::zeros(t.shape(), t.dtype())) : te;
}

Var Dit::times(const Var& s, const Var& t) const {
  if (!config.mean_flow) throw ConfigError("Dit: called with two times, but the model was made for one; set mean_flow in its config");
  return t_embedder(t) + (r_embedder ? (*r_embedder)(t - s) : t_embedder(s));
}

Var Dit::operator()(const Var& x, const Var& t, const Tensor& labels) const { return velocity(all_channels(x, t, labels)); }

Var Dit::all_channels(const Var& x, const Var& t, const Tensor& labels) const { return forward(x, times(t), labels); }

Var Dit::operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const { return velocity(forward(x, times(s, t), labels)); }

Var Dit::velocity(const Var& channels) const { return config.learn_sigma ? slice(channels, 1, 0, config.channels) : channels; }

Var Dit::condition(const Var& embedded_times, const Tensor& labels, DType type) const {
  const Tensor y = labels.defined() ? labels : Tensor::full({embedded_times.dim(0)}, static_cast<double>(y_embedder.null_label()), DType::i64);
  return cast(silu(embedded_times + y_embedder(y)), type);
}

Var Dit::patch_tokens(const Var& x, std::int64_t rows) const {
  const Shape wanted{rows, config.channels, config.input_size, config.input_size};
  if (x.shape() != wanted) throw ShapeError("Dit: the input has shape " + to_string(x.shape()) + ", but must have shape " + to_string(wanted));
  return x_embedder.project(patchify(cast(x, block_type(config.precision, x)), config.patch_size), x.dtype());
}

Var Dit::through_blocks(const Var& tokens, const Var& activated) const {
  Var h = tokens + cast(position_table, tokens.dtype());
  for (std::size_t i = 0; i < blocks.size(); ++i) h = run_block(i, h, activated);
  return h;
}

Var Dit::to_latent(const Var& tokens) const { return unpatchify(tokens, config.side(), config.side(), config.patch_size); }

Var Dit::forward(const Var& x, const Var& embedded_times, const Tensor& labels) const {
  if (class_projector)
    throw ConfigError("Dit: this network has a class token (REG) and gives no velocity of the latent alone: call joint() with the noised class token");
  const Var tokens = patch_tokens(x, embedded_times.dim(0)), activated = condition(embedded_times, labels, block_type(config.precision, x));
  const Var h = through_blocks(tokens, activated);
  const ModulePath path("final_layer");
  return to_latent(final_layer(h, activated, x.dtype()));
}

JointVelocity Dit::joint(const Var& x, const Var& class_token, const Var& t, const Tensor& labels) const {
  if (!class_projector) throw ConfigError("Dit: joint() was called, but this network has no class token; call it with the latent alone");
  const Shape wanted{x.dim(0), config.class_token};
  if (class_token.shape() != wanted)
    throw ShapeError("Dit: the class token has shape " + to_string(class_token.shape()) + ", but must have shape " + to_string(wanted));
  const DType type = block_type(config.precision, x);
  const Var patches = patch_tokens(x, t.dim(0)), activated = condition(times(t), labels, type);
  const Var projected = linear(cast(class_token, type), class_projector->weight, class_projector->bias, x.dtype());
  const Var h = through_blocks(concat({unsqueeze((*class_norm)(projected), 1), patches}, 1), activated);
  const ModulePath path("final_layer");
  const auto [of_token, of_patches] = final_layer.with_class_token(h, activated, x.dtype());
  return {velocity(to_latent(of_patches)), of_token};
}

Var Dit::run_block(std::size_t i, const Var& x, const Var& activated) const {
  const ModulePath path("blocks." + std::to_string(i));
  if (!config.recompute) return blocks[i](x, activated);
  return recompute([&block = blocks[i]](const Var& h, const Var& c) { return block(h, c); }, x, activated);
}

}  // namespace fm
