#include "nn/models/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "tensor/error.h"

namespace fm {
namespace {

struct Size {
  std::string_view name;
  std::int64_t width, depth, heads, mlp_width;
};

constexpr std::array<Size, 5> sizes_of_dit{{{"S", 384, 12, 6, 0}, {"B", 768, 12, 12, 0}, {"M", 1024, 16, 16, 0}, {"L", 1024, 24, 16, 0}, {"XL", 1152, 28, 16, 0}}};

Size find(std::string_view model, std::string_view name, std::initializer_list<Size> sizes) {
  std::string known;
  for (const Size& size : sizes) {
    if (size.name == name) return size;
    known += (known.empty() ? "" : ", ") + std::string(size.name);
  }
  throw ConfigError(std::string(model) + ": no size '" + std::string(name) + "'; the sizes are " + known);
}

// ViT-B/16 without DINOv2's additions.
VitEncoderConfig vit_base(std::string_view model, std::string_view size, std::string kind, std::int64_t image_size, double eps) {
  const Size s = find(model, size, {{"B", 768, 12, 12, 3072}});
  VitEncoderConfig c;
  c.kind = std::move(kind), c.image_size = image_size, c.patch_size = 16, c.eps = eps;
  c.width = s.width, c.depth = s.depth, c.heads = s.heads, c.mlp_width = s.mlp_width;
  c.registers = 0, c.layer_scale = 0;
  return c;
}

}  // namespace

std::int64_t rae_latent_size(std::int64_t image_size) {
  if (image_size < 16 || image_size % 16 != 0)
    throw ConfigError("RAE: image size " + std::to_string(image_size) + " is not a multiple of 16; published sizes are 256 and 512");
  return image_size / 16;
}

std::int64_t dinov2_input_size(std::int64_t image_size) { return 14 * rae_latent_size(image_size); }

VitEncoderConfig siglip2(std::string_view size) { return vit_base("SigLIP 2", size, "siglip2", 256, 1e-6); }

VitEncoderConfig vit_mae(std::string_view size) { return vit_base("ViT-MAE", size, "mae", 224, 1e-12); }

VitEncoderConfig dinov2(std::string_view size) {
  const Size s = find("DINOv2", size, {{"S", 384, 12, 6, 1536}, {"B", 768, 12, 12, 3072}, {"L", 1024, 24, 16, 4096}});
  VitEncoderConfig c;
  c.width = s.width, c.depth = s.depth, c.heads = s.heads, c.mlp_width = s.mlp_width;
  return c;
}

RaeDecoderConfig rae_decoder(std::string_view size, std::int64_t image_size) {
  const Size s = find("RAE decoder", size, {{"B", 768, 12, 12, 3072}, {"L", 1024, 24, 16, 4096}, {"XL", 1152, 28, 16, 4096}});
  RaeDecoderConfig c;
  c.latent_size = rae_latent_size(image_size);
  c.width = s.width, c.depth = s.depth, c.heads = s.heads, c.mlp_width = s.mlp_width;
  return c;
}

DitDhConfig dit_dh(std::string_view size, std::int64_t image_size, bool mean_flow) {
  const Size s = find("DiT^DH", size, {{"S", 384, 12, 6, 0}, {"B", 768, 12, 12, 0}, {"L", 1024, 24, 16, 0}, {"XL", 1152, 28, 16, 0}});
  DitDhConfig c;  // the MLP's width follows from mlp_ratio
  c.input_size = rae_latent_size(image_size);
  c.width = s.width, c.depth = s.depth, c.heads = s.heads;
  c.mean_flow = mean_flow;
  return c;
}

std::vector<std::string> dit_sizes() {
  std::vector<std::string> names;
  for (const Size& size : sizes_of_dit)
    for (const char* patch : {"/2", "/4", "/8"}) names.push_back(std::string(size.name) + patch);
  return names;
}

DitConfig dit(std::string_view size, std::int64_t image_size, bool mean_flow) {
  const std::vector<std::string> names = dit_sizes();
  if (std::find(names.begin(), names.end(), size) == names.end()) throw ConfigError(fmt::format("DiT: no size '{}'; the sizes are {}", size, fmt::join(names, ", ")));
  const std::int64_t patch = size.back() - '0', pixels = 8 * patch;
  if (image_size < pixels || image_size % pixels != 0)
    throw ConfigError(fmt::format("DiT-{}: image size {} is not a multiple of {}, the pixels that a token spans", size, image_size, pixels));
  const Size s = *std::find_if(sizes_of_dit.begin(), sizes_of_dit.end(), [&](const Size& known) { return known.name == size.substr(0, size.find('/')); });
  DitConfig c;
  c.input_size = image_size / 8;
  c.patch_size = patch;
  c.width = s.width, c.depth = s.depth, c.heads = s.heads;
  c.mean_flow = mean_flow;
  return c;
}

RaeConfig rae(std::string_view encoder, std::string_view decoder, std::int64_t image_size) {
  const std::size_t dash = std::min(encoder.find('-'), encoder.size() - 1);
  const std::string_view kind = encoder.substr(0, dash), size = encoder.substr(dash + 1);
  RaeConfig c;
  c.decoder = rae_decoder(decoder, image_size);
  if (kind == "dinov2") c.encoder = dinov2(size);
  else if (kind == "siglip2") c.encoder = siglip2(size);
  else if (kind == "mae") c.encoder = vit_mae(size);
  else throw ConfigError("RAE: no encoder '" + std::string(encoder) + "'; the encoders are dinov2-S, dinov2-B, dinov2-L, siglip2-B, mae-B");
  c.decoder.latent_channels = c.encoder.width;
  c.input_size = c.encoder.patch_size * c.decoder.latent_size;
  if (kind != "siglip2") c.image_mean.assign(imagenet_mean, imagenet_mean + 3), c.image_std.assign(imagenet_std, imagenet_std + 3);
  return c;
}

}  // namespace fm
