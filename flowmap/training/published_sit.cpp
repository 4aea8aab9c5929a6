#include "flowmap/training/published_sit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "flowmap/training/joint_generator.h"
#include "flowmap/training/network.h"
#include "flowmap/training/published_parts.h"
#include "flowmap/training/vae_space.h"
#include "nn/backbones/dit.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/models/dit_weights.h"
#include "nn/models/published_names.h"
#include "nn/models/published_weights.h"
#include "tensor/narrow.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

// Factor of the latents of SD-VAE. All published networks of this kind were trained on such latents.
const double published_scale = AutoencoderKLConfig().scale;

struct SitModels {
  Network net, weak;
  std::shared_ptr<AutoencoderKL> vae;
  double scale = published_scale;
  std::int64_t tile = 0;
  LatentStats stats;
  Rounding rounding = Rounding::truncate;
};

// Refuses options of other files, and names the files that are missing. `flax`: the layout of --dit.
void check_sit_files(const PublishedConfig& c, bool flax) {
  if (!c.decoder.empty())
    throw ConfigError(fmt::format("--decoder is for the latents of a DiT^DH, but --dit {} is a SiT, REPA, REG or MeanFlow: give --vae FILE, the AutoencoderKL that decodes its latents",
                                  c.dit));
  if (const PublishedConfig plain; c.pixels != plain.pixels || c.decoder_heads != plain.decoder_heads)
    throw ConfigError(fmt::format("--pixels and --decoder-heads are for the decoder of a DiT^DH, but --dit {} is a SiT, REPA, REG or MeanFlow: leave them out", c.dit));
  if (!flax && c.latent_size != PublishedConfig().latent_size)
    throw ConfigError(fmt::format("--latent-size {}: only Flax files lack the side of their latents, and --dit {} has it: leave --latent-size out", c.latent_size, c.dit));
  if (c.stats == "none")
    throw ConfigError("--stats none: latents of --vae have a scale in place of statistics: leave --stats out, or, for a network of latents without a scale, give --latent-scale 1");
  if (c.vae.empty())
    throw ConfigError(fmt::format("--dit {} is a SiT, REPA, REG or MeanFlow and needs --vae: the AutoencoderKL that turns its latents into images", c.dit));
}

// The config of a run holds numbers that tensors do not show: heads, scale of times, groups of norms, scale of latents. ConfigError for a checkpoint of a run.
void refuse_checkpoint(const char* flag, const std::string& where, const Weights& weights) {
  if (weights.state == nullptr) return;
  throw ConfigError(fmt::format("{} {}: a checkpoint of a run, whose config sets heads, groups of norms, and the scales of times and latents, which tensors do not "
                                "show: sample it with --out RUN, the run's folder", flag, where));
}

bool is_flax_file(const std::string& dit) {
  const Weights weights = load_weights(dit, {});
  refuse_checkpoint("--dit", dit, weights);
  return layout_of(weights.tensors) == Layout::flax_dit;
}

// What the tensors of a network of another width than the published ones leave open, for the line that says what was loaded.
std::string assumed_heads(const DitConfig& c) {
  for (const std::int64_t published : {384, 768, 1024, 1152})
    if (c.width == published) return "";
  return fmt::format(", {} head{} assumed", c.heads, c.heads == 1 ? "" : "s");
}

std::string assumed_groups(const AutoencoderKLConfig& c) {
  return c.widths == AutoencoderKLConfig().widths ? "" : fmt::format(", {} groups of norms assumed", c.groups);
}

DitReading reading_of(const PublishedConfig& c) { return {c.origin, c.latent_size}; }

Weights read_net(const char* flag, const std::string& file, const PublishedConfig& c, const Warn& warn) {
  Weights weights = load_dit(file, reading_of(c), warn);
  refuse_checkpoint(flag, file, weights);
  return weights;
}

Network net_of(const std::string& role, Weights weights, const PublishedConfig& c, const Say& say) {
  DitConfig config = dit_config_of(weights, reading_of(c));
  config.precision = c.precision;
  return Network(std::shared_ptr<Dit>(model_of<Dit>(role, std::move(weights), config, size_text(config) + assumed_heads(config), say)));
}

// As the code that wrote the file (sdvae-sit.md 1.1): SiT and the Flax code of MeanFlow round to nearest; REPA, REG and the PyTorch codes of MeanFlow truncate.
Rounding published_rounding(const Weights& weights, bool flax) { return flax || is_read_as_sit(weights) ? Rounding::nearest : Rounding::truncate; }

double scale_of(const PublishedConfig& c, const std::filesystem::path& file) {
  if (c.latent_scale > 0) return c.latent_scale;
  if (!c.stats.empty()) return 1;                                // they scale the autoencoder's own latents
  const std::optional<double> own = scaling_factor_beside(file);
  if (own && std::abs(*own - published_scale) > 1e-9)
    throw FileError(fmt::format("{}: its config.json has scaling_factor {}, but latents of SiT, REPA, REG and MeanFlow have {}: this is another autoencoder, such as "
                                "SDXL's. Give the SD-VAE; or, if the network was trained on latents of this one, --latent-scale {}", file.string(), *own, published_scale, *own));
  return published_scale;
}

void open_vae(SitModels& m, const PublishedConfig& c, const Warn& warn, const Say& say) {
  Weights weights = load_part(c.vae, weights_part::vae, warn);
  refuse_checkpoint("--vae", c.vae, weights);
  AutoencoderKLConfig config = autoencoder_kl_config_of(weights);
  config.scale = m.scale = scale_of(c, weights.file);
  m.tile = c.tile;
  const std::string size = fmt::format("AutoencoderKL {}, {} channels of latents, scale {}{}", fmt::join(config.widths, " "), config.latent_channels, config.scale,
                                       assumed_groups(config));
  m.vae = model_of<AutoencoderKL>(weights_part::vae, std::move(weights), config, size, say);
}

const DitConfig& sit_config_of(const Network& net) { return net.as<Dit>()->config; }
Shape sit_latent(const DitConfig& c) { return {c.channels, c.input_size, c.input_size}; }

void check_sit_fit(const SitModels& m, const PublishedConfig& c) {
  const DitConfig& net = sit_config_of(m.net);
  if (m.vae->config.latent_channels != net.channels)
    throw FileError(fmt::format("{} makes latents of {} channels, but {} decodes latents of {}: give the autoencoder that the network was trained with", c.dit, net.channels, c.vae,
                                m.vae->config.latent_channels));
  if (m.stats.variance.defined() && m.stats.variance.shape() != sit_latent(net))
    throw FileError(fmt::format("{} holds statistics of latents {}, but {} makes latents {}: give --stats for the latents of --dit, or leave it out", c.stats,
                                to_string(m.stats.variance.shape()), c.dit, to_string(sit_latent(net))));
  if (!m.weak) return;
  const DitConfig& weak = sit_config_of(m.weak);
  if (net.class_token > 0 || weak.class_token > 0) throw ConfigError("--weak is for networks without a class token, and one of --dit and --weak is a REG: leave --weak out");
  if (sit_latent(weak) != sit_latent(net) || weak.classes != net.classes || weak.mean_flow)
    throw FileError(fmt::format("{} does not fit {}: --weak must be a teacher (not a flow map) with the same shape of latents and number of classes", c.weak, c.dit));
}

LatentGenerator sit_generator(const SitModels& m, const DrawConfig& draw) {
  const DitConfig& c = sit_config_of(m.net);
  const int calls = narrow<int>(draw.calls, "calls");
  if (m.net.two_times()) {
    refuse_settings_of_teacher(draw, static_cast<bool>(m.weak));
    return flow_map_generator(m.net.u(), calls);
  }
  const auto [own, beside] = teacher_velocity(m.net, sit_latent(c));
  VelocityNet v = m.weak ? autoguidance(own, m.weak.v(), draw.guidance, draw.interval) : guided(own, draw.guidance, c.classes, draw.interval);
  LatentGenerator generate = velocity_generator(std::move(v), plain_grid(calls), draw.solver, draw.work, draw.sde);
  return beside > 0 ? first_of_joined(std::move(generate), sit_latent(c), {beside}) : generate;
}

LatentCoder sit_coder(const SitModels& m) {
  LatentCoder coder{.name = "vae", .shape = sit_latent(sit_config_of(m.net))};
  coder.decoder = coder.weights = [vae = m.vae, scale = m.scale] { return fmt::format("{} scale {}", checksum(state_dict(*vae)), scale); };
  coder.encode = [](const Tensor&) -> Tensor { throw Error("this latent space has only a decoder: it cannot encode"); };
  coder.decode = [raw = vae_coder(m.vae, coder.shape[1] * m.vae->config.factor(), m.tile).decode, scale = m.scale](const Tensor& latents) { return raw(latents / scale); };
  return coder;
}

// The decoder's largest tensors have the image's height and width and the channels of its last two levels. About six are alive at once: the input and the
// output of a convolution, its rows of patches, and a residual.
std::int64_t decoder_bytes(const AutoencoderKLConfig& c, std::int64_t latent_side) {
  const std::int64_t side = latent_side * c.factor(), channels = c.widths[std::min<std::size_t>(1, c.widths.size() - 1)];
  return 6 * channels * side * side * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

Source open_published_sit(const PublishedConfig& config, const DrawConfig& draw, const Warn& warn, const Say& say) {
  const bool flax = is_flax_file(config.dit);                                // refuses a checkpoint before files are asked for, which a run does not need
  check_sit_files(config, flax);
  const auto m = std::make_shared<SitModels>();
  Weights weights = read_net("--dit", config.dit, config, warn);
  m->rounding = published_rounding(weights, flax);
  m->net = net_of(weights_part::dit, std::move(weights), config, say);
  open_vae(*m, config, warn, say);
  if (!config.stats.empty()) m->stats = load_stats(config.stats, warn);
  if (!m->net.two_times()) refuse_weak_without_guidance(config, draw);
  if (!config.weak.empty()) m->weak = net_of("weak teacher", read_net("--weak", config.weak, config, warn), config, say);
  check_sit_fit(*m, config);
  const DitConfig& c = sit_config_of(m->net);
  Source source;
  source.space = LatentSpace(sit_coder(*m), m->stats);
  source.classes = c.classes;
  source.generate = sit_generator(*m, draw);
  source.weights = [m, space = source.space] {
    std::string line = fmt::format("sit {} {}", checksum(m->net.state()), space.decoding());
    if (m->weak) line += " weak " + checksum(m->weak.state());
    if (sit_config_of(m->net).shared_times) line += " origin mean_flow";      // as a REPA the same weights are a velocity
    return line;
  };
  source.bytes_a_sample = activation_bytes(c, 1).one_block + decoder_bytes(m->vae->config, config.tile > 0 ? std::min(config.tile, c.input_size) : c.input_size);
  source.rounding = m->rounding;
  return source;
}

}  // namespace fm
