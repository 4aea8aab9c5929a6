#include "nn/models/dit_weights.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/models/published_names.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr const char *last_weight = "final_layer.linear.weight", *last_bias = "final_layer.linear.bias", *first_time_weight = "t_embedder.mlp.0.weight",
                    *second_time_weight = "r_embedder.mlp.0.weight";

const Tensor* tensor_of(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [n, t] : tensors)
    if (n == name) return &t;
  return nullptr;
}

const Tensor& needed(const NamedTensors& tensors, const std::string& name, int rank) {
  const Tensor* t = tensor_of(tensors, name);
  if (t == nullptr) throw FileError(name + " is missing");
  if (t->rank() != rank) throw FileError(fmt::format("{} has shape {}, but must have {} dimensions", name, to_string(t->shape()), rank));
  return *t;
}

struct Channels {
  std::int64_t in, out, pixels;                  // channels of latent and output; pixels of a token
};

Channels channels_of(const NamedTensors& tensors) {
  const Tensor &patch = needed(tensors, "x_embedder.proj.weight", 4), &last = needed(tensors, last_weight, 2);
  const std::int64_t pixels = patch.dim(2) * patch.dim(3);
  if (pixels == 0 || last.dim(0) % pixels != 0)
    throw FileError(fmt::format("{} has {} rows, which are not a whole number for each of the {} pixels of a token", last_weight, last.dim(0), pixels));
  return {patch.dim(1), last.dim(0) / pixels, pixels};
}

bool has_sigma(const Channels& c) { return c.out == 2 * c.in; }

// A row for each pixel and channel, channels innermost: keeps the first `in` channels of each pixel.
Tensor velocity_rows(const Tensor& t, const Channels& c) {
  Shape apart{c.pixels, c.out}, kept{c.pixels * c.in};
  for (int d = 1; d < t.rank(); ++d) apart.push_back(t.dim(d)), kept.push_back(t.dim(d));
  return t.contiguous().reshape(apart).slice(1, 0, c.in).contiguous().reshape(kept);
}

// W' of dit_weights.h.
Tensor reversed_times(const Tensor& weight) {
  constexpr std::int64_t n = TimestepEmbedding::count;
  if (weight.rank() != 2 || weight.dim(1) != 2 * n)
    throw FileError(fmt::format("{} has shape {}: it must have a column for the cosine and the sine of each of {} frequencies", first_time_weight, to_string(weight.shape()), n));
  const Tensor w = weight.to(DType::f64), f = TimestepEmbedding::base_frequencies().to(weight.device()).unsqueeze(0);
  const Tensor c = w.slice(1, 0, n), s = w.slice(1, n, 2 * n);
  return concat(std::vector<Tensor>{c * cos(f) + s * sin(f), c * sin(f) - s * cos(f)}, 1);
}

std::int64_t heads_of_width(std::int64_t width) { return width == 1152 ? 16 : width % 64 == 0 ? width / 64 : 1; }

std::int64_t side_of(std::int64_t tokens) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  if (side < 1 || side * side != tokens) throw FileError(fmt::format("pos_embed: its {} positions do not form a square", tokens));
  return side;
}

DitConfig config_of_tensors(const NamedTensors& w) {
  const Channels channels = channels_of(w);
  const Tensor& patch = needed(w, "x_embedder.proj.weight", 4);
  DitConfig c;
  c.width = patch.dim(0), c.channels = patch.dim(1), c.patch_size = patch.dim(2);
  c.learn_sigma = has_sigma(channels);
  c.input_size = c.patch_size * side_of(needed(w, "pos_embed", 3).dim(1));
  c.classes = needed(w, "y_embedder.embedding_table.weight", 2).dim(0) - 1;
  c.heads = heads_of_width(c.width);
  for (c.depth = 0; tensor_of(w, fmt::format("blocks.{}.attn.qkv.weight", c.depth)) != nullptr;) ++c.depth;
  c.mlp_ratio = static_cast<double>(needed(w, "blocks.0.mlp.fc1.weight", 2).dim(0)) / static_cast<double>(c.width);
  c.mean_flow = tensor_of(w, second_time_weight) != nullptr;
  return c;
}

}  // namespace

NamedTensors without_sigma(const NamedTensors& tensors) {
  const Channels c = channels_of(tensors);
  NamedTensors out = tensors;
  if (!has_sigma(c)) return out;
  for (auto& [name, t] : out)
    if (name == last_weight || name == last_bias) t = velocity_rows(t, c);
  return out;
}

NamedTensors with_reversed_clock(const NamedTensors& tensors) {
  NamedTensors out = tensors;
  for (auto& [name, t] : out) {
    const DType type = t.dtype() == DType::f64 ? DType::f64 : DType::f32;
    if (name == first_time_weight) t = reversed_times(t).to(type);
    if (name == last_weight || name == last_bias) t = affine(t.to(type), -1, 0);
  }
  return out;
}

Weights load_dit(const std::string& where, const Warn& warn) {
  Weights weights = load_part(where, weights_part::sit, warn);
  if (weights.state != nullptr) return weights;                    // a checkpoint of this program
  try {
    if (tensor_of(weights.tensors, second_time_weight) != nullptr || !has_sigma(channels_of(weights.tensors))) return weights;
    weights.tensors = with_reversed_clock(without_sigma(weights.tensors));
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", weights.file.string(), e.what(), unread_text(weights.unread)));
  }
  if (warn)
    warn(fmt::format("{}: twice as many output channels as the latent has: taken as a SiT, whose clock is reversed (t = 1 is data) and whose second half of "
                     "channels is not used. A DiT, which predicts noise, cannot be used", weights.file.string()));
  return weights;
}

DitConfig dit_config_of(const Weights& weights) {
  try {
    return config_of_tensors(weights.tensors);
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", weights.file.string(), e.what(), unread_text(weights.unread)));
  }
}

}  // namespace fm
