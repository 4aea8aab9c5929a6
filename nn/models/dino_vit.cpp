#include "nn/models/dino_vit.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/resize.h"
#include "nn/models/presets.h"

namespace fm {
namespace {

constexpr double dino_eps = 1e-6;

// [-1, 1] -> (image - mean)/std, where image = (x + 1)/2.
Var imagenet_normalised(const Var& x) {
  std::vector<double> scale, shift;
  for (int c = 0; c < 3; ++c) scale.push_back(0.5 / imagenet_std[c]), shift.push_back((0.5 - imagenet_mean[c]) / imagenet_std[c]);
  return x * Tensor::from(scale, {3, 1, 1}).to(x.dtype()) + Tensor::from(shift, {3, 1, 1}).to(x.dtype());
}

}  // namespace

DinoVitBlock::DinoVitBlock(const DinoVitConfig& c)
    : norm1(c.width, dino_eps), norm2(c.width, dino_eps), attention(c.width, c.heads), mlp(c.width, c.mlp_width, Activation::gelu_tanh) {}

Var DinoVitBlock::operator()(const Var& x) const {
  const Var h = x + attention(norm1(x));
  return h + mlp(norm2(h));
}

DinoVit::DinoVit(const DinoVitConfig& c, std::uint64_t seed)
    : config(c),
      cls_token(make_parameter({1, 1, c.width})),
      positions(make_parameter({1, 1 + c.tokens(), c.width})),
      patch_embed(3, c.patch_size, c.width),
      norm(c.width, dino_eps) {
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c);
  reset_parameters(*this, seed);
  set_trainable(*this, false);
}

void DinoVit::reset(const Init& init) {
  init.normal("cls_token", cls_token, 0.02);
  init.normal("pos_embed", positions, 0.02);
}

std::vector<Var> DinoVit::maps(const Var& images) const {
  if (images.rank() != 4 || images.dim(1) != 3) throw ShapeError("DinoVit: images have shape " + to_string(images.shape()) + ", but must be (B, 3, H, W)");
  const std::int64_t side = config.image_size;
  const bool fits = images.dim(2) == side && images.dim(3) == side;
  const Var x = imagenet_normalised(fits ? images : resize(images, side, side, Interpolation::bilinear));
  Var h = concat({expand(cls_token, {x.dim(0), 1, config.width}), patch_embed(x, x.dtype())}, 1) + Var(positions);
  std::vector<Var> after;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const ModulePath path("blocks." + std::to_string(i));
    after.push_back(h = blocks[i](h));
  }
  std::vector<Var> chosen;
  for (const std::int64_t block : blocks_of_maps(config.depth)) chosen.push_back(slice(after[static_cast<std::size_t>(block)], 1, 1, 1 + config.tokens()));
  return maps_of(chosen);
}

void DinoVit::zero_key_biases() {
  for (DinoVitBlock& block : blocks) block.attention.qkv.bias.value.slice(0, config.width, 2 * config.width).fill(0);
}

DinoVit load_dino_vit(const std::filesystem::path& file, const Warn& warn, const DinoVitConfig& config) {
  DinoVit model(config);
  load_model(model, load_weights(file.string(), warn));
  model.zero_key_biases();
  return model;
}

}  // namespace fm
