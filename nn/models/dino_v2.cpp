#include "nn/models/dino_v2.h"

#include "autodiff/rules/linear.h"
#include "autodiff/rules/resize.h"

namespace fm {
namespace {

std::int64_t grid_size(const DinoV2Config& c) { return c.image_size / c.patch_size; }

}  // namespace

DinoV2::DinoV2(const DinoV2Config& c, std::uint64_t seed)
    : config(checked_config(c, "DinoV2")),
      cls_token(make_parameter({1, 1, c.width})),
      mask_token(make_parameter({1, c.width})),
      position_table(make_parameter({1, grid_size(c) * grid_size(c) + 1, c.width})),
      patch_embed(c.channels, c.patch_size, c.width),
      norm(c.width, c.eps, c.affine_norm) {
  if (c.registers > 0) register_tokens = make_parameter({1, c.registers, c.width});
  for (std::int64_t i = 0; i < c.depth; ++i) layers.emplace_back(c);
  reset_parameters(*this, seed);
}

// The original's initial values: N(0, 0.02) for products and positions, almost zero for the extra tokens, zero biases. The patch embedding
// keeps PyTorch's default.
void DinoV2::reset(const Init& init) {
  for_each_parameter(*this, [&](const std::string& name, Parameter& p) {
    if (name.ends_with("lambda1")) fill(p, config.layer_scale);
    else if (name.starts_with("encoder.") && p.value.rank() == 2) init.normal(name, p, 0.02);
    else if (name.starts_with("encoder.") && name.ends_with("bias")) fill(p, 0);
  });
  init.normal("embeddings.position_embeddings", position_table, 0.02);
  init.normal("embeddings.cls_token", cls_token, 1e-6);
  init.normal("embeddings.register_tokens", register_tokens, 1e-6);
  fill(mask_token, 0);
}

Var DinoV2::positions(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t g = grid_size(config), d = config.width;
  const Var grid = slice(position_table, 1, 1, g * g + 1);
  if (rows * columns == g * g) return grid;                             // as the original: a grid of as many patches is taken as it is
  const auto kind = Interpolation::bicubic_antialias;
  const Var resized = resample(resample(reshape(grid, {g, g, d}), 0, resampling(g, rows, kind)), 1, resampling(g, columns, kind));
  return reshape(resized, {1, rows * columns, d});
}

DinoV2Tokens DinoV2::encode(const Var& image, const Tensor& mask) const {
  const DType type = block_type(config.precision, image);
  Var patches = patch_embed(cast(image, type));
  const std::int64_t b = patches.dim(0), n = patches.dim(1), d = config.width, r = config.registers;
  if (mask.defined()) patches = where(mask.reshape({b, n, 1}).to(patches.dtype()), reshape(cast(mask_token, type), {1, 1, d}), patches);
  patches = patches + cast(positions(image.dim(2) / config.patch_size, image.dim(3) / config.patch_size), type);

  std::vector<Var> parts{expand(cast(Var(cls_token) + slice(position_table, 1, 0, 1), type), {b, 1, d})};
  if (r > 0) parts.push_back(expand(cast(register_tokens, type), {b, r, d}));
  parts.push_back(patches);
  Var h = concat(parts, 1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ModulePath path("encoder.layer." + std::to_string(i));
    h = layers[i](h);
  }
  h = norm(cast(h, image.dtype()));
  return {select(h, 1, 0), r > 0 ? slice(h, 1, 1, 1 + r) : Var(), slice(h, 1, 1 + r, 1 + r + n)};
}

}  // namespace fm
