#include "nn/models/dinov2_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "autodiff/tape.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/resize.h"

namespace fm {
namespace {

constexpr std::int64_t input_side = 224;
constexpr double position_offset = 0.1;
constexpr const char* position_name = "embeddings.position_embeddings";

// "FD-DINOv2 uses dinov2_vitl14_pretrain.pth": the file that messages recommend.
std::string wanted_file(Dinov2Positions how) {
  return how == Dinov2Positions::meta ? "FD-DINOv2 uses dinov2_vitl14_pretrain.pth" : "REG uses dinov2_vitb14_pretrain.pth";
}

Weights loaded(const std::string& where, const Warn& warn, Dinov2Positions how) {
  try {
    return load_part(where, weights_part::encoder, warn, true);
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}; {} of facebookresearch/dinov2", e.what(), wanted_file(how)));
  }
}

// The published size of this width: S, B or L.
std::string size_of_width(const Weights& weights, std::int64_t width, Dinov2Positions how) {
  for (const char* size : {"S", "B", "L"})
    if (dinov2(size).width == width) return size;
  throw FileError(fmt::format("{}: width {} is not that of DINOv2 S, B or L (384, 768, 1024); {}", weights.file.string(), width, wanted_file(how)));
}

VitEncoderConfig config_of(const std::string& size) {
  VitEncoderConfig c = dinov2(size);
  c.image_size = input_side, c.registers = 0, c.affine_norm = true;
  return c;
}

VitEncoder without_values(const VitEncoderConfig& config) {
  const ShapesOnly shapes;
  return VitEncoder(config);
}

}  // namespace

namespace {

// (G,G,D) -> (side,side,D).
Tensor resized_grid(const Tensor& grid, std::int64_t side, Dinov2Positions how) {
  const std::int64_t g = grid.dim(0);
  const double factor = (static_cast<double>(side) + position_offset) / static_cast<double>(g);
  const Resampling r = how == Dinov2Positions::meta ? scaled_bicubic(g, side, factor) : resampling(g, side, Interpolation::bicubic_antialias);
  return resample(resample(grid, 1, r), 0, r);
}

}  // namespace

Tensor dinov2_positions(const Tensor& table, std::int64_t side, Dinov2Positions how) {
  const std::int64_t tokens = table.rank() == 3 ? table.dim(1) : 0, g = std::llround(std::sqrt(static_cast<double>(std::max<std::int64_t>(tokens - 1, 0))));
  if (g < 1 || g * g + 1 != tokens || table.dim(0) != 1)
    throw ShapeError(fmt::format("dinov2_positions: a table of shape {} must be (1, 1 + G G, D)", to_string(table.shape())));
  const Tensor grid = table.slice(1, 1, tokens).to(DType::f32).reshape({g, g, table.dim(2)});
  return concat(std::vector<Tensor>{table.slice(1, 0, 1).to(DType::f32), resized_grid(grid, side, how).reshape({1, side * side, table.dim(2)})}, 1);
}

Tensor Dinov2Features::operator()(const Tensor& images) const {
  if (images.rank() != 4 || images.shape() != Shape{images.dim(0), 3, input_side, input_side})
    throw ShapeError(fmt::format("{}: images of shape {} must be (N, 3, {}, {})", name, to_string(images.shape()), input_side, input_side));
  const PauseTape pause;
  return encoder.encode(images).cls.value();
}

Dinov2Features load_dinov2_features(const std::string& where, const Warn& warn, Dinov2Positions how) {
  Weights weights = loaded(where, warn, how);
  const std::string file = weights.file.string();
  if (find_tensor(weights, "embeddings.register_tokens") != nullptr)
    throw FileError(fmt::format("{}: a DINOv2 with registers; {}, which has none", file, wanted_file(how)));
  const Tensor* positions = find_tensor(weights, position_name);
  if (positions == nullptr || positions->rank() != 3)
    throw FileError(fmt::format("{}: {} (pos_embed in Meta's file) is missing, or has not 3 dimensions; {}", file, position_name, wanted_file(how)));
  const std::string size = size_of_width(weights, positions->dim(2), how);
  const VitEncoderConfig published = dinov2(size), config = config_of(size);
  if (positions->dim(1) != published.positions())
    throw FileError(fmt::format("{}: {} has {} positions, but DINOv2's files have {}; {}", file, position_name, positions->dim(1), published.positions(), wanted_file(how)));
  for (auto& [name, t] : weights.tensors) t = name == position_name ? dinov2_positions(t, config.grid(), how) : t.to(DType::f32);
  Dinov2Features out{fmt::format("dinov2_vit{}14", static_cast<char>(size[0] - 'A' + 'a')), without_values(config)};
  try {
    adopt_state(out.encoder, weights.tensors);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(fmt::format("{}: {}", file, e.what()));
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", file, e.what(), unread_text(weights.unread)));
  }
  return out;
}

}  // namespace fm
