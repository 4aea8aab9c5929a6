#include "nn/models/dit_weights.h"

#include <fmt/format.h>

#include "nn/layers/positions.h"
#include "nn/models/published_names.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr const char *last_weight = "final_layer.linear.weight", *last_bias = "final_layer.linear.bias", *first_time_weight = "t_embedder.mlp.0.weight",
                    *second_time_weight = "r_embedder.mlp.0.weight", *second_time_weight_in_files = "h_embedder.mlp.0.weight",
                    *class_token_weight = "cls_projectors2.weight", *position_table = "pos_embed", *sit_text = "read as SiT: its time 1 is data, reversed";

struct Channels {
  std::int64_t in, out, pixels;                  // channels of latent and output; pixels of a token
};

Channels channels_of(const Weights& w) {
  const Tensor &patch = needed_tensor_in(w, "x_embedder.proj.weight", 4), &last = needed_tensor_in(w, last_weight, 2);
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
Tensor reversed_times(const Tensor& weight, double time_scale) {
  constexpr std::int64_t n = TimestepEmbedding::count;
  if (weight.rank() != 2 || weight.dim(1) != 2 * n)
    throw FileError(fmt::format("{} has shape {}: it must have a column for the cosine and the sine of each of {} frequencies", first_time_weight, to_string(weight.shape()), n));
  const Tensor w = weight.to(DType::f64), f = TimestepEmbedding::base_frequencies().to(weight.device()).unsqueeze(0) * time_scale;
  const Tensor c = w.slice(1, 0, n), s = w.slice(1, n, 2 * n);
  return concat(std::vector<Tensor>{c * cos(f) + s * sin(f), c * sin(f) - s * cos(f)}, 1);
}

// The tensors that distinguish files.
struct Traits {
  bool two_times, sigma, class_token;
};

// The second name is that of files: an embedding that could not be read keeps it.
bool has_second_time(const Weights& w) { return tensor_in(w, second_time_weight) != nullptr || tensor_in(w, second_time_weight_in_files) != nullptr; }

std::int64_t class_token_in(const Weights& w) { return tensor_in(w, class_token_weight) == nullptr ? 0 : needed_tensor_in(w, class_token_weight, 2).dim(1); }

Traits traits_of(const Weights& w) { return {has_second_time(w), has_sigma(channels_of(w)), class_token_in(w) > 0}; }

[[noreturn]] void contradict(const std::string& origin, const char* has, const char* remedy) {
  throw FileError(fmt::format("origin \"{}\" does not fit: the weights have {}: {}", origin, has, remedy));
}

// The origin, or that of the tensors for auto. FileError if they contradict each other.
std::string origin_of(const Traits& is, const std::string& origin) {
  if (origin == "auto") return is.two_times ? "mean_flow" : is.sigma ? "sit" : "repa";
  if (origin != "mean_flow" && is.two_times) contradict(origin, "a second embedding of times", "they are those of a MeanFlow; leave origin out");
  if (origin != "repa" && is.class_token) contradict(origin, "a class token", "they are those of a REG; leave origin out");
  if (origin != "sit" && is.sigma) contradict(origin, "a second half of output channels", "they are those of a SiT or a DiT; say origin = \"sit\" if they are a SiT");
  return origin;
}

void refuse_dit_by_name(const Weights& weights) {
  if (!weights.file.filename().string().starts_with("DiT")) return;
  throw FileError("by its name and its second half of output channels a DiT, which predicts noise on a diffusion path of 1000 steps and is no flow: it cannot be "
                  "used as a velocity. If it is a SiT, say origin = \"sit\"");
}

// The file's clock in words, for the line that says what was loaded.
std::string clock_text(const std::string& origin, const Traits& is, bool given) {
  if (origin == "sit") return sit_text;
  if (origin == "mean_flow") return is.two_times ? "read as MeanFlow: time 0 is data" : "read as an early MeanFlow with one embedding for both times: time 0 is data";
  const std::string own = is.class_token ? "read as REG: time 0 is data" : "read as REPA: time 0 is data";
  return given || is.class_token ? own : own + ", assumed (a SiT without its second half of channels and an early MeanFlow have the same tensors: set origin)";
}

// Flax files lack the table, which is fixed.
void add_positions(Weights& weights, std::int64_t input_size) {
  const Tensor& patch = needed_tensor_in(weights, "x_embedder.proj.weight", 4);
  const std::int64_t width = patch.dim(0), size = patch.dim(2);
  if (input_size % size != 0 || width % 4 != 0)
    throw FileError(fmt::format("patches of {} positions do not divide a latent of side {}: set the side of its latents", size, input_size));
  weights.tensors.insert(weights.tensors.begin(), {position_table, sin_cos_positions(input_size / size, input_size / size, width).unsqueeze(0)});
}

// Puts weights on our clock.
void interpret(Weights& weights, const DitReading& reading, const Warn& warn) {
  const Traits is = traits_of(weights);
  if (reading.origin == "auto" && is.sigma && !is.two_times) refuse_dit_by_name(weights);
  const std::string origin = origin_of(is, reading.origin);
  weights.read_as = clock_text(origin, is, reading.origin != "auto");
  if (origin != "sit") return;
  weights.tensors = with_reversed_clock(without_sigma(weights.tensors), reading.time_scale);
  if (warn && reading.origin == "auto")
    warn(fmt::format("{}: twice as many output channels as the latent has: taken as a SiT, whose clock is reversed (t = 1 is data) and whose second half of "
                     "channels is not used. A DiT, which predicts noise, cannot be used", weights.file.string()));
}

DitConfig config_of_tensors(const Weights& w) {
  const Channels channels = channels_of(w);
  const Tensor& patch = needed_tensor_in(w, "x_embedder.proj.weight", 4);
  DitConfig c;
  c.width = patch.dim(0), c.channels = patch.dim(1), c.patch_size = patch.dim(2);
  c.learn_sigma = has_sigma(channels);
  c.class_token = class_token_in(w);
  c.input_size = c.patch_size * side_of_square(position_table, needed_tensor_in(w, position_table, 3).dim(1) - (c.class_token > 0 ? 1 : 0));
  c.classes = needed_tensor_in(w, "y_embedder.embedding_table.weight", 2).dim(0) - 1;
  c.heads = usual_heads(c.width);
  for (c.depth = 0; tensor_in(w, fmt::format("blocks.{}.attn.qkv.weight", c.depth)) != nullptr;) ++c.depth;
  c.mlp_ratio = static_cast<double>(needed_tensor_in(w, "blocks.0.mlp.fc1.weight", 2).dim(0)) / static_cast<double>(c.width);
  c.mean_flow = has_second_time(w);
  return c;
}

}  // namespace

NamedTensors without_sigma(const NamedTensors& tensors) {
  const Channels c = channels_of({.file = {}, .tensors = tensors});
  NamedTensors out = tensors;
  if (!has_sigma(c)) return out;
  for (auto& [name, t] : out)
    if (name == last_weight || name == last_bias) t = velocity_rows(t, c);
  return out;
}

NamedTensors with_reversed_clock(const NamedTensors& tensors, double time_scale) {
  NamedTensors out = tensors;
  for (auto& [name, t] : out) {
    const DType type = t.dtype() == DType::f64 ? DType::f64 : DType::f32;
    if (name == first_time_weight) t = reversed_times(t, time_scale).to(type);
    if (name == last_weight || name == last_bias) t = affine(t.to(type), -1, 0);
  }
  return out;
}

std::int64_t class_token_of(const NamedTensors& tensors) { return class_token_in({.file = {}, .tensors = tensors}); }

NamedTensors without_class_token(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    if (name.starts_with("cls_projectors2.") || name.starts_with("wg_norm.") || name.starts_with("final_layer.linear_cls.")) continue;
    out.emplace_back(name, name == position_table ? t.slice(1, 1, t.dim(1)).contiguous() : t);
  }
  return out;
}

Weights load_dit(const std::string& where, const DitReading& reading, const Warn& warn) {
  Weights weights = load_weights(where, warn);
  try {
    const bool flax = layout_of(weights.tensors) == Layout::flax_dit;
    weights.tensors = to_our_names(weights.tensors, weights_part::sit);
    if (weights.state != nullptr) return weights;                  // a checkpoint of this program
    if (flax) add_positions(weights, reading.input_size);
    interpret(weights, reading, warn);
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", weights.file.string(), e.what(), unread_text(weights.unread)));
  }
  return weights;
}

bool is_read_as_sit(const Weights& weights) { return weights.read_as == sit_text; }

DitConfig dit_config_of(const Weights& weights, const DitReading& reading) {
  try {
    DitConfig c = config_of_tensors(weights);
    c.time_scale = reading.time_scale;
    if (reading.origin == "mean_flow" && weights.state == nullptr) c.shared_times = !c.mean_flow, c.mean_flow = true;
    return c;
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", weights.file.string(), e.what(), unread_text(weights.unread)));
  }
}

}  // namespace fm
