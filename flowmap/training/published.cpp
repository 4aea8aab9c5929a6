#include "flowmap/training/published.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "flowmap/training/chain/stages.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/published_parts.h"
#include "flowmap/training/published_sit.h"
#include "flowmap/training/rae_space.h"
#include "nn/backbones/dit_dh.h"
#include "nn/flops/autoencoder.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/narrow.h"

namespace fm {

void refuse_settings_of_teacher(const DrawConfig& draw, bool weak) {
  if (draw.solver != TeacherSolver::euler) throw ConfigError("--solver is for a teacher, but this --dit is a flow map, which makes jumps: leave --solver out");
  if (draw.guidance != 1 || weak) throw ConfigError("guidance is for a teacher, but this --dit is a flow map, which learned its guidance: leave --guidance and --weak out");
}

void refuse_weak_without_guidance(const PublishedConfig& config, const DrawConfig& draw) {
  if (!config.weak.empty() && draw.guidance == 1)
    throw ConfigError(fmt::format("--weak {} needs --guidance above 1, the scale of autoguidance (1.42 in RAE's samples): give it, or leave --weak out", config.weak));
}

namespace {

// Refuses a flow map that cannot be sampled by jumps in this number of calls. A checkpoint of this program records which jumps were trained. Bare files and
// published weights have no such record, and are sampled by jumps. ConfigError names `file`.
void refuse_other_sampler(const Weights& weights, const std::string& file, std::int64_t calls) {
  if (weights.state == nullptr || !weights.state->contains("made_from")) return;
  const Jumps jumps = jumps_of_sampler((*weights.state)["made_from"].value("sampler", ""));
  if (jumps != Jumps::none && (calls == 1 || (jumps != Jumps::to_data && takes_calls(jumps, narrow<int>(calls, "calls"))))) return;
  throw ConfigError(fmt::format("{}: its objective did not train jumps to every time (sampler: {}), and --dit samples by jumps: use --out RUN --stage STAGE, which samples as it "
                                "was trained{}", file, sampler_of(jumps).name, jumps == Jumps::none ? "" : ", or --steps 1"));
}

struct Models {
  Network dit, weak;
  std::shared_ptr<RaeDecoder> decoder;
  LatentStats stats;
};

// Names all missing files in one error.
void need_files(const PublishedConfig& c) {
  std::string missing;
  for (const auto& [name, file] : {std::pair{"--dit", &c.dit}, {"--decoder", &c.decoder}, {"--vae", &c.vae}, {"--stats", &c.stats}, {"--weak", &c.weak}}) {
    if (file->empty() || (file == &c.stats && *file == "none")) continue;
    const std::filesystem::path plain = weights_and_part(*file).first;
    if (!std::filesystem::exists(plain)) missing += fmt::format("{}{} {}", missing.empty() ? "" : ", ", name, plain.string());
  }
  if (!missing.empty()) throw FileError("no such file: " + missing);
}

void check_files(const PublishedConfig& c) {
  if (c.decoder.empty()) throw ConfigError("--dit needs --decoder: the weights that turn its latents into images");
  if (c.stats.empty())
    throw ConfigError("--dit needs --stats: mean and variance of its latents (stat.pt), or --stats none if it was trained on latents that were not normalized");
}

Network open_dit(const std::string& role, const std::string& file, const std::string& precision, std::int64_t calls, const Warn& warn, const Say& say) {
  Weights weights = load_part(file, weights_part::dit, warn);
  refuse_other_sampler(weights, file, calls);
  DitDhConfig config = dit_dh_config_of(weights);
  config.precision = precision;
  return Network(std::shared_ptr<DitDh>(model_of<DitDh>(role, std::move(weights), config, size_text(config), say)));
}

Layout layout_of_dit(const PublishedConfig& c) { return layout_of(load_weights(c.dit, {}).tensors); }

void refuse_settings_of_sit(const PublishedConfig& c, Layout layout) {
  if (!c.vae.empty() && layout == Layout::dit_dh)
    throw ConfigError(fmt::format("--vae decodes the latents of a SiT, REPA, REG or MeanFlow, but --dit {} is {}: give --decoder and --stats in its place", c.dit, name_of(layout)));
  if (!c.vae.empty() && layout != Layout::other) throw FileError(fmt::format("{}: no network for --dit in this file: it is {}", c.dit, name_of(layout)));
  if (c.origin != "auto" || c.latent_scale != 0 || c.tile != 0 || c.latent_size != PublishedConfig().latent_size)
    throw ConfigError(fmt::format("--origin, --latent-scale, --latent-size and --tile are for a SiT, REPA, REG or MeanFlow, but --dit {} is {}: leave them out", c.dit, name_of(layout)));
}

std::unique_ptr<RaeDecoder> open_decoder(const PublishedConfig& c, const Warn& warn, const Say& say) {
  Weights weights = load_part(c.decoder, weights_part::decoder, warn);
  RaeDecoderConfig config = rae_decoder_config_of(weights);
  if (c.decoder_heads > 0) config.heads = c.decoder_heads;
  config.precision = c.precision;
  return model_of<RaeDecoder>(weights_part::decoder, std::move(weights), config, size_text(config), say);
}

const DitDhConfig& config_of(const Network& dit) { return dit.as<DitDh>()->config; }

void check_fit(const Models& m, const PublishedConfig& c) {
  const DitDhConfig& dit = config_of(m.dit);
  const RaeDecoderConfig& decoder = m.decoder->config;
  const Shape latent{dit.channels, dit.input_size, dit.input_size};
  if (decoder.latent_channels != dit.channels || decoder.latent_size != dit.input_size)
    throw FileError(fmt::format("{} makes latents {}, but {} decodes latents ({}, {}, {}): both files must be for the same encoder and the same image size", c.dit,
                                to_string(latent), c.decoder, decoder.latent_channels, decoder.latent_size, decoder.latent_size));
  if (m.stats.variance.defined() && m.stats.variance.shape() != latent)
    throw FileError(
        fmt::format("{} holds statistics of latents {}, but {} makes latents {}: give --stats for the latents of --dit", c.stats, to_string(m.stats.variance.shape()), c.dit, to_string(latent)));
  if (!m.weak) return;
  const DitDhConfig& weak = config_of(m.weak);
  if (weak.channels != dit.channels || weak.input_size != dit.input_size || weak.classes != dit.classes || weak.mean_flow)
    throw FileError(fmt::format("{} does not fit {}: --weak must be a teacher (not a flow map) with the same shape of latents and number of classes", c.weak, c.dit));
}

LatentGenerator generator(const Models& m, const DrawConfig& draw) {
  const DitDhConfig& c = config_of(m.dit);
  if (m.dit.two_times()) {
    refuse_settings_of_teacher(draw, static_cast<bool>(m.weak));
    return flow_map_generator(m.dit.u(), narrow<int>(draw.calls, "calls"));
  }
  VelocityNet v = m.weak ? autoguidance(m.dit.v(), m.weak.v(), draw.guidance, draw.interval) : guided(m.dit.v(), draw.guidance, c.classes, draw.interval);
  const double shift = shift_for_dimension(c.channels * c.input_size * c.input_size);
  return velocity_generator(std::move(v), narrow<int>(draw.calls, "calls"), shift, draw.solver, draw.work, draw.sde);
}

}  // namespace

Source open_published(const PublishedConfig& config, const DrawConfig& draw, const Warn& warn, const Say& say) {
  need_files(config);
  switch (const Layout layout = layout_of_dit(config); layout) {
    case Layout::dit:
    case Layout::flax_dit: return open_published_sit(config, draw, warn, say);
    default: refuse_settings_of_sit(config, layout);
  }
  check_files(config);
  const auto m = std::make_shared<Models>();
  m->dit = open_dit(weights_part::dit, config.dit, config.precision, draw.calls, warn, say);
  m->decoder = open_decoder(config, warn, say);
  if (config.stats != "none") {
    m->stats = load_stats(config.stats, warn);
    say(fmt::format("statistics: latents {}, {}", to_string(m->stats.variance.shape()), config.stats));
  }
  if (!m->dit.two_times()) refuse_weak_without_guidance(config, draw);
  if (!config.weak.empty()) m->weak = open_dit("weak teacher", config.weak, config.precision, draw.calls, warn, say);
  check_fit(*m, config);
  const bool half = config.pixels == "half" || m->decoder->config.image_channels == 1;

  const DitDhConfig& c = config_of(m->dit);
  Source source;
  source.space = LatentSpace(rae_coder(m->decoder, half ? RaeConfig{} : rae("dinov2-B")), m->stats);
  source.classes = c.classes;
  source.generate = generator(*m, draw);
  source.weights = [m, space = source.space] {
    std::string line = fmt::format("dit {} {}", checksum(m->dit.state()), space.decoding());
    if (m->weak) line += " weak " + checksum(m->weak.state());
    return line;
  };
  source.bytes_a_sample = activation_bytes(c, 1).one_block;
  return source;
}

}  // namespace fm
