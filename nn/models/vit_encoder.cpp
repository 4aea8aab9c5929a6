#include "nn/models/vit_encoder.h"

#include <cmath>

#include "autodiff/rules/linear.h"
#include "autodiff/rules/resize.h"
#include "nn/layers/positions.h"

namespace fm {
namespace {

VitEncoderConfig checked(const VitEncoderConfig& config) {
  const VitEncoderConfig c = checked_config(config, "VitEncoder");
  if (c.kind == "mae" && c.width % 4 != 0)
    throw ConfigError("VitEncoder: width = " + std::to_string(c.width) + " is not a multiple of 4, which the positions of mae need");
  return c;
}

Shape position_shape(const VitEncoderConfig& c) {
  return c.has_cls() ? Shape{1, c.positions(), c.width} : Shape{c.positions(), c.width};
}

bool is_product(const Parameter& p) { return p.value.rank() == 2; }

}  // namespace

VitEncoderLayer::VitEncoderLayer(const VitEncoderConfig& c)
    : VitBlock(c.width, c.heads, c.mlp_width, c.eps, c.has_layer_scale(), c.kind == "siglip2" ? Activation::gelu_tanh : Activation::gelu),
      kind(c.kind) {}

VitEncoder::VitEncoder(const VitEncoderConfig& c, std::uint64_t seed)
    : config(checked(c)),
      position_table(make_parameter(position_shape(c), c.kind != "mae")),
      patch_embed(c.channels, c.patch_size, c.width),
      norm(c.width, c.eps, c.affine_norm) {
  if (c.has_cls()) cls_token = make_parameter({1, 1, c.width});
  if (c.is_dino()) mask_token = make_parameter({1, c.width});
  if (c.register_tokens() > 0) register_tokens = make_parameter({1, c.register_tokens(), c.width});
  for (std::int64_t i = 0; i < c.depth; ++i) layers.emplace_back(c);
  reset_parameters(*this, seed);
}

void VitEncoder::reset(const Init& init) {
  if (config.kind == "siglip2") reset_siglip(init);
  else if (config.kind == "mae") reset_mae(init);
  else reset_dino(init);
}

// N(0, 0.02^2) for products and positions, N(0, 1e-12) for the class and register tokens, zero for biases. The patch embedding keeps PyTorch's default.
void VitEncoder::reset_dino(const Init& init) {
  for_each_parameter(*this, [&](const std::string& name, Parameter& p) {
    if (name.ends_with("lambda1")) fill(p, config.layer_scale);
    else if (name.starts_with("encoder.") && is_product(p)) init.normal(name, p, 0.02);
    else if (name.starts_with("encoder.") && name.ends_with("bias")) fill(p, 0);
  });
  init.normal("embeddings.position_embeddings", position_table, 0.02);
  init.normal("embeddings.cls_token", cls_token, 1e-6);
  if (register_tokens.value.defined()) init.normal("embeddings.register_tokens", register_tokens, 1e-6);
  fill(mask_token, 0);
}

// Xavier for products; zero biases in attention, N(0, 1e-12) in the MLP; variance 1/width for positions and 1/fan-in for the patch embedding. (The
// original samples the patch embedding from a normal distribution that is cut at two deviations and scaled to the same variance; here it is not cut.)
void VitEncoder::reset_siglip(const Init& init) {
  for_each_parameter(*this, [&](const std::string& name, Parameter& p) {
    if (!name.starts_with("encoder.")) return;
    const bool mlp = name.find(".mlp.") != std::string::npos;
    if (is_product(p)) init.xavier(name, p);
    else if (mlp) init.normal(name, p, 1e-6);
    else if (name.ends_with("bias")) fill(p, 0);
  });
  const double fan_in = static_cast<double>(config.channels * config.patch_size * config.patch_size);
  init.normal("embeddings.position_embedding.weight", position_table, 1 / std::sqrt(static_cast<double>(config.width)));
  init.normal("embeddings.patch_embedding.weight", patch_embed.weight, 1 / std::sqrt(fan_in));
  fill(patch_embed.bias, 0);
}

// N(0, 0.02^2) for products and the class token, Xavier for the patch embedding, zero biases, and fixed sine-cosine positions.
void VitEncoder::reset_mae(const Init& init) {
  for_each_parameter(*this, [&](const std::string& name, Parameter& p) {
    if (name.starts_with("encoder.") && is_product(p)) init.normal(name, p, 0.02);
    else if (name.ends_with("bias")) fill(p, 0);
  });
  init.normal("embeddings.cls_token", cls_token, 0.02);
  init.xavier("embeddings.patch_embeddings.projection.weight", patch_embed.weight);
  fill(position_table, 0);
  position_table.value.slice(1, 1, config.positions())
      .copy_from(sin_cos_positions(config.grid(), config.grid(), config.width).unsqueeze(0));
}

Var VitEncoder::positions(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t g = config.grid(), d = config.width;
  const Var table = reshape(position_table, {1, config.positions(), d});
  const Var grid = config.has_cls() ? slice(table, 1, 1, config.positions()) : table;
  if (rows == g && columns == g) return grid;
  const auto kind = config.is_dino() ? Interpolation::bicubic_antialias : Interpolation::bicubic;
  const Var resized = resample(resample(reshape(grid, {g, g, d}), 0, resampling(g, rows, kind)), 1, resampling(g, columns, kind));
  return reshape(resized, {1, rows * columns, d});
}

Var VitEncoder::embedded(const Var& image, const Tensor& mask) const {
  const DType type = block_type(config.precision, image), stream = image.dtype();
  Var patches = patch_embed(cast(image, type), stream);
  const std::int64_t b = patches.dim(0), n = patches.dim(1), d = config.width;
  if (mask.defined()) {
    if (!mask_token.value.defined())
      throw ConfigError("VitEncoder: kind = " + config.kind + " has no mask token; use kind = dinov2, or no mask");
    patches = where(mask.reshape({b, n, 1}).to(patches.dtype()), reshape(cast(mask_token, stream), {1, 1, d}), patches);
  }
  patches = patches + cast(positions(image.dim(2) / config.patch_size, image.dim(3) / config.patch_size), stream);

  std::vector<Var> parts;
  if (config.has_cls()) parts.push_back(expand(cast(Var(cls_token) + slice(position_table, 1, 0, 1), stream), {b, 1, d}));
  if (config.register_tokens() > 0) parts.push_back(expand(cast(register_tokens, stream), {b, config.register_tokens(), d}));
  parts.push_back(patches);
  return parts.size() == 1 ? patches : concat(parts, 1);
}

Var VitEncoder::after_layer(std::size_t i, const Var& h) const {
  const ModulePath path("encoder.layer." + std::to_string(i));
  return layers[i](h, block_type(config.precision, h));
}

VitTokens VitEncoder::encode(const Var& image, const Tensor& mask) const {
  Var h = embedded(image, mask);
  for (std::size_t i = 0; i < layers.size(); ++i) h = after_layer(i, h);
  h = norm(h);
  const std::int64_t cls = config.has_cls() ? 1 : 0, r = config.register_tokens();
  return {cls ? select(h, 1, 0) : Var(), r > 0 ? slice(h, 1, cls, cls + r) : Var(), slice(h, 1, cls + r, h.dim(1))};
}

std::vector<Var> VitEncoder::patches_after(const Var& image, const std::vector<std::int64_t>& chosen) const {
  std::vector<Var> after{embedded(image, {})}, out;
  for (std::size_t i = 0; i < layers.size(); ++i) after.push_back(after_layer(i, after.back()));
  for (const std::int64_t layer : chosen) {
    const Var& h = after.at(static_cast<std::size_t>(layer) + 1);
    out.push_back(slice(h, 1, (config.has_cls() ? 1 : 0) + config.register_tokens(), h.dim(1)));
  }
  return out;
}

}  // namespace fm
