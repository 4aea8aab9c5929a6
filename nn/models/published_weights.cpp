#include "nn/models/published_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/models/published_names.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

[[noreturn]] void fail(const Weights& weights, const std::string& why) {
  throw FileError(fmt::format("{}: {}{}", weights.file.string(), why, unread_text(weights.unread)));
}

// Returns f(), and adds the file's name to its FileErrors.
template <class F> decltype(auto) naming_the_file(const Weights& weights, const F& f) {
  try {
    return f();
  } catch (const FileError& e) {
    fail(weights, e.what());
  }
}

const Tensor& require(const Weights& weights, const std::string& name, int rank) {
  return naming_the_file(weights, [&]() -> const Tensor& { return needed_tensor_in(weights, name, rank); });
}

std::int64_t root(const Weights& weights, const std::string& name, std::int64_t square) {
  return naming_the_file(weights, [&] { return side_of_square(name, square); });
}

// Returns the number of heads, from a table of rotations (N, width of a head).
std::int64_t heads_of(const Weights& weights, const std::string& table, std::int64_t width) {
  const std::int64_t head = require(weights, table, 2).dim(1);
  if (head < 1 || width % head != 0) fail(weights, fmt::format("{}: the width of a head, {}, does not divide the {} channels", table, head, width));
  return width / head;
}

// Returns the mlp_ratio that gives this many hidden channels. SwiGLU takes two thirds and rounds down, so the function tries nearby values.
double mlp_ratio_of(const Weights& weights, std::int64_t width, std::int64_t hidden) {
  for (std::int64_t wide = 3 * hidden / 2; wide <= 3 * hidden / 2 + 3; ++wide) {
    const double ratio = static_cast<double>(wide) / static_cast<double>(width);
    for (double r : {std::round(ratio * 4) / 4, ratio})
      if (SwiGluFfn::hidden_width(width, r) == hidden) return r;
  }
  fail(weights, fmt::format("no mlp_ratio gives a SwiGLU layer of {} hidden channels at width {}: the file is of another model", hidden, width));
}

}  // namespace

const Tensor* tensor_in(const Weights& weights, const std::string& name) {
  for (const auto& [n, t] : weights.tensors)
    if (n == name) return &t;
  for (const UnreadEntry& entry : weights.unread)
    if (entry.name == name || entry.name.ends_with("." + name)) throw FileError(fmt::format("{} is needed, but could not be read", name));
  return nullptr;
}

const Tensor& needed_tensor_in(const Weights& weights, const std::string& name, int rank) {
  const Tensor* t = tensor_in(weights, name);
  if (t == nullptr) throw FileError(name + " is missing");
  if (t->rank() != rank) throw FileError(fmt::format("{} has shape {}, but must have {} dimensions", name, to_string(t->shape()), rank));
  return *t;
}

const Tensor* find_tensor(const Weights& weights, const std::string& name) {
  return naming_the_file(weights, [&] { return tensor_in(weights, name); });
}

std::int64_t side_of_square(const std::string& name, std::int64_t count) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(count))));
  if (side < 1 || side * side != count) throw FileError(fmt::format("{}: its {} positions or pixels do not form a square", name, count));
  return side;
}

std::int64_t usual_heads(std::int64_t width) { return width == 1024 || width == 1152 ? 16 : width % 64 == 0 ? width / 64 : 1; }

Weights load_part(const std::string& where, const std::string& part, const Warn& warn, bool affine_norm) {
  Weights weights = load_weights(where, warn);
  try {
    weights.tensors = part == weights_part::encoder ? encoder_tensors(weights.tensors, affine_norm) : to_our_names(weights.tensors, part);
  } catch (const FileError& e) {
    fail(weights, e.what());
  }
  return weights;
}

void check_kind(const Weights& dit, bool flow_map, const std::string& role) {
  const bool is_flow_map = std::any_of(dit.tensors.begin(), dit.tensors.end(), [](const auto& entry) { return entry.first.starts_with("r_embedder.") || entry.first == "late_s"; });
  if (is_flow_map == flow_map) return;
  const std::string velocity = "a velocity network v(z, t), as stage fm trains it", map = "a flow map u(z, s, t), as stages cmt, mfd and mft train it";
  fail(dit, fmt::format("holds {}; {} must be {}", is_flow_map ? map : velocity, role, flow_map ? map : velocity));
}

void check_stats(const LatentStats& stats, const std::string& file) {
  const auto refuse = [&](const char* tensor, std::size_t at, double value, const char* wanted) {
    throw FileError(fmt::format("{}: element {} of {} is {}, not {}: compute the statistics again, or fetch the file again", file, at, tensor, value, wanted));
  };
  const std::vector<double> variance = stats.variance.to_vector<double>(), mean = stats.mean.defined() ? stats.mean.to_vector<double>() : std::vector<double>();
  for (std::size_t i = 0; i < variance.size(); ++i)
    if (!std::isfinite(variance[i]) || variance[i] <= 0) refuse("var", i, variance[i], "positive and finite");
  for (std::size_t i = 0; i < mean.size(); ++i)
    if (!std::isfinite(mean[i])) refuse("mean", i, mean[i], "finite");
}

LatentStats load_stats(const std::string& where, const Warn& warn) {
  const Weights weights = load_weights(where, warn);
  LatentStats stats;
  stats.variance = require(weights, "var", 3).to(DType::f32).clone().to(default_device());
  if (const Tensor* mean = find_tensor(weights, "mean")) {
    if (mean->shape() != stats.variance.shape())
      fail(weights, fmt::format("mean has shape {} and var {}, but their shapes must be equal", to_string(mean->shape()), to_string(stats.variance.shape())));
    stats.mean = mean->to(DType::f32).clone().to(default_device());
  }
  check_stats(stats, weights.file.string());
  return stats;
}

DitDhConfig dit_dh_config_of(const Weights& w) {
  DitDhConfig c;
  const Tensor& x = require(w, "x_embedder.proj.weight", 4);
  c.head_width = x.dim(0), c.channels = x.dim(1), c.patch_size = x.dim(2);
  c.width = require(w, "s_embedder.proj.weight", 4).dim(0);
  c.classes = require(w, "y_embedder.embedding_table.weight", 2).dim(0) - 1;
  c.late_s = find_tensor(w, "late_s") != nullptr;
  c.mean_flow = c.late_s || find_tensor(w, "r_embedder.W") != nullptr;
  c.position_embed = find_tensor(w, "pos_embed") != nullptr;
  std::int64_t blocks = 0, backbone = 0;
  while (const Tensor* norm = find_tensor(w, fmt::format("blocks.{}.norm1.weight", blocks))) {
    ++blocks;
    if (norm->numel() == c.width) backbone = blocks;
  }
  c.head_depth = c.width == c.head_width ? std::min<std::int64_t>(2, blocks - 1) : blocks - backbone;
  c.depth = blocks - c.head_depth;
  if (c.depth < 1 || c.head_depth < 1)
    fail(w, fmt::format("{} blocks, the first {} in the backbone, of width {}: there must be blocks in the backbone and in the head", blocks, backbone, c.width));
  c.heads = heads_of(w, "enc_feat_rope.freqs_cos", c.width);
  c.head_heads = heads_of(w, "dec_feat_rope.freqs_cos", c.head_width);
  c.input_size = c.patch_size * root(w, "enc_feat_rope.freqs_cos", require(w, "enc_feat_rope.freqs_cos", 2).dim(0));
  c.qk_norm = find_tensor(w, "blocks.0.attn.q_norm.weight") != nullptr;
  c.mlp_ratio = mlp_ratio_of(w, c.head_width, require(w, fmt::format("blocks.{}.mlp.w3.weight", c.depth), 2).dim(1));
  return c;
}

RaeDecoderConfig rae_decoder_config_of(const Weights& w) {
  RaeDecoderConfig c;
  const Tensor& embed = require(w, "decoder_embed.weight", 2);
  c.width = embed.dim(0), c.latent_channels = embed.dim(1);
  c.latent_size = root(w, "decoder_pos_embed", require(w, "decoder_pos_embed", 3).dim(1) - 1);
  for (c.depth = 0; find_tensor(w, fmt::format("decoder_layers.{}.layernorm_before.weight", c.depth)) != nullptr;) ++c.depth;
  if (c.depth == 0) fail(w, "decoder_layers.0.layernorm_before.weight is missing");
  c.mlp_width = require(w, "decoder_layers.0.intermediate.dense.weight", 2).dim(0);
  const std::int64_t patch = require(w, "decoder_pred.weight", 2).dim(0);
  const auto is_square = [](std::int64_t n) {
    return std::pow(std::llround(std::sqrt(static_cast<double>(n))), 2) == static_cast<double>(n);
  };
  c.image_channels = patch % 3 == 0 && is_square(patch / 3) ? 3 : 1;
  c.patch_size = root(w, "decoder_pred.weight", patch / c.image_channels);
  c.heads = usual_heads(c.width);
  return c;
}

AutoencoderKLConfig autoencoder_kl_config_of(const Weights& w, std::int64_t groups) {
  AutoencoderKLConfig c;
  c.groups = groups;
  c.image_channels = require(w, "encoder.conv_in.weight", 4).dim(1);
  c.latent_channels = require(w, "post_quant_conv.weight", 4).dim(0);
  c.widths.clear();
  const auto resnet = [](std::size_t level, std::int64_t number) { return fmt::format("encoder.down_blocks.{}.resnets.{}.conv1.weight", level, number); };
  while (find_tensor(w, resnet(c.widths.size(), 0)) != nullptr) c.widths.push_back(require(w, resnet(c.widths.size(), 0), 4).dim(0));
  if (c.widths.empty()) fail(w, resnet(0, 0) + " is missing");
  for (c.resnets = 0; find_tensor(w, resnet(0, c.resnets)) != nullptr;) ++c.resnets;
  for (const std::int64_t width : c.widths)
    if (width % c.groups != 0) fail(w, fmt::format("a level of the autoencoder has {} channels, which {} groups do not divide: it is not an AutoencoderKL", width, c.groups));
  return c;
}

std::optional<double> scaling_factor_beside(const std::filesystem::path& file) {
  const std::filesystem::path config = file.parent_path() / "config.json";
  if (!std::filesystem::exists(config)) return std::nullopt;
  const nlohmann::json all = nlohmann::json::parse(read_file(config), nullptr, false);
  if (!all.is_object() || all.value("_class_name", "") != "AutoencoderKL") return std::nullopt;
  if (const auto shift = all.find("shift_factor"); shift != all.end() && shift->is_number() && *shift != 0)
    throw FileError(fmt::format("{}: shift_factor {}: latents of this autoencoder are moved before they are scaled, which the latents of SiT, REPA, REG and MeanFlow are not",
                                config.string(), shift->get<double>()));
  const auto factor = all.find("scaling_factor");
  return factor != all.end() && factor->is_number() ? std::optional(factor->get<double>()) : std::nullopt;
}

}  // namespace fm
