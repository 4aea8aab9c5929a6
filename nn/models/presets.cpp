#include "nn/models/presets.h"

#include <initializer_list>
#include <string>

#include "tensor/error.h"

namespace fm {
namespace {

struct Size {
  std::string_view name;
  std::int64_t width, depth, heads, mlp_width;
};

Size find(std::string_view model, std::string_view name, std::initializer_list<Size> sizes) {
  std::string known;
  for (const Size& size : sizes) {
    if (size.name == name) return size;
    known += (known.empty() ? "" : ", ") + std::string(size.name);
  }
  throw ConfigError(std::string(model) + ": no size '" + std::string(name) + "'; there are " + known);
}

}  // namespace

std::int64_t rae_latent_size(std::int64_t image_size) {
  if (image_size < 16 || image_size % 16 != 0)
    throw ConfigError("RAE: image size " + std::to_string(image_size) + " is not a multiple of 16; published are 256 and 512");
  return image_size / 16;
}

std::int64_t dinov2_input_size(std::int64_t image_size) { return 14 * rae_latent_size(image_size); }

DinoV2Config dinov2(std::string_view size) {
  const Size s = find("DINOv2", size, {{"S", 384, 12, 6, 1536}, {"B", 768, 12, 12, 3072}, {"L", 1024, 24, 16, 4096}});
  DinoV2Config c;
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

}  // namespace fm
