#include "flowmap/training/ablation/latents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "flowmap/training/ablation/variants.h"
#include "flowmap/training/backbones.h"
#include "flowmap/training/chain/spaces.h"
#include "nn/checkpoint.h"
#include "nn/config/toml_text.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr double omega_of_xl = 0.2, label_dropout = 0.1;             // Geng et al. 2025, table 4
constexpr const char *guided_start = "cmt guided", *unguided_start = "cmt unguided";

Recipe without_guidance(Recipe r) {
  r.guidance = 1;
  return r;
}

// MeanFlow on data with the settings of MFD, whose targets the network guides with the recipe's scale and interval.
MapStage self_guided_map(const Recipe& r) {
  MapStage map = r.map;
  map.loop = r.mfd.loop, map.velocity = "one-point", map.start = stage_name::cmt;
  map.objective.name = GuidedMeanFlowConfig::name, map.objective.preset = "plain";
  auto& guided = std::get<GuidedMeanFlowConfig>(map.objective.entries);
  static_cast<MeanFlowConfig&>(guided) = r.mfd.objective;
  guided.omega = omega_of_xl, guided.kappa = 1 - omega_of_xl / r.guidance;
  guided.low = r.guidance_from, guided.high = r.guidance_to;
  if (guided.labels.probability == 0) guided.labels.probability = label_dropout;     // the network must learn its velocity without a label
  return map;
}

std::string section_of(const std::string& key) { return key.substr(0, key.find('.')); }

// Whether the sides may differ in this setting: it belongs to latent space or network, it decides no result, or the comparison does not read it.
bool is_of_one_side(const std::string& key) {
  const std::string section = section_of(key);
  if (is_backbone_section(section)) return true;                         // with precision and recomputation
  if (section == "latents") return key != "latents.flip";
  for (const char* own : {"space", "network", "rae", "identity", "encoder_weights", "decoder_weights", "vae_weights", "stats_file", "teacher_weights",
                          "class_token_weights", "encoder_model", "decoder_size", "dit_size", stage_name::encoder, stage_name::decoder, stage_name::vae, stage_name::mft, stage_name::map, "log", "class_names",
                          "train_images"})
    if (section == own) return true;
  for (const char* leaf : {".loop.log_every", ".loop.ckpt_every", ".loop.sample_every", ".loop.keep", ".loop.keep_every", ".loop.micro_batch"})
    if (key.ends_with(leaf)) return true;
  return false;
}

// Error if two scores of the sides have different judges or references.
void refuse_two_references(const std::vector<Side>& sides) {
  const Score* first = nullptr;
  const auto check = [&](const Score& s, const std::string& side) {
    if (first == nullptr) first = &s;
    if (s.judge == first->judge && s.reference_id == first->reference_id) return;
    throw Error(fmt::format("--what latents: {} of {} was scored with judge {} and reference {}, {} of {} with judge {} and reference {}, so their distances cannot be "
                            "compared: set judge_weights to one trained judge for both sides, such as {}/judge/judge.safetensors",
                            first->name, sides[0].folder, first->judge, first->reference_id, s.name, side, s.judge, s.reference_id, sides[0].folder));
  };
  for (const Side& side : sides) {
    for (const Trial& t : side.findings.trials)
      for (const Score& s : t.scores) check(s, side.folder);
    for (const Level& l : side.findings.levels) check(l.score, side.folder);
  }
}

}  // namespace

std::vector<Variant> latents_variants(const Recipe& r) {
  if (!(r.guidance > 1))
    throw ConfigError(fmt::format("--what latents compares with and without guidance, and guidance is {:g}: give a scale above 1 (--guidance)", r.guidance));
  if (teacher_share(r.mfd.velocity) != 1)
    throw ConfigError(fmt::format("--what latents compares distillation with training on data, and {0}.velocity is \"{1}\", which is no distillation alone: set {0}.velocity = \"teacher\" "
                                  "on both sides", stage_name::mfd, r.mfd.velocity));
  std::vector<Variant> list(4);
  list[0] = {.name = "mfd guided", .start = guided_start, .recipe = r};
  list[1] = {.name = "mfd unguided", .start = unguided_start, .recipe = without_guidance(r)};
  list[2] = {.name = "mft guided", .start = guided_start, .recipe = r, .part = stage_name::map};
  list[2].recipe.map = self_guided_map(r);
  list[3] = {.name = "mft unguided", .start = unguided_start, .recipe = without_guidance(r)};
  list[3].recipe.mfd.velocity = "one-point";
  return list;
}

std::vector<Variant> latents_starts(const Recipe& r) {
  const auto cmt = [](const char* name, Recipe recipe) {
    return Variant{.name = name, .start = stage_that_makes(Makes::teacher).name, .recipe = std::move(recipe), .part = stage_name::cmt};
  };
  return {cmt(guided_start, r), cmt(unguided_start, without_guidance(r))};
}

void check_equal_work(const Recipe& a, const Recipe& b) {
  const bool trains_judge = a.judge_weights.empty() || b.judge_weights.empty();
  Recipe first = a, second = b;
  const std::vector<Field> of_a = list_fields(first), of_b = list_fields(second);
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    const std::string &key = of_a[i].path, x = toml_value(of_a[i]), y = toml_value(of_b[i]);
    if (x == y || is_of_one_side(key) || (section_of(key) == stage_name::judge && !trains_judge)) continue;
    if (key == "judge_weights" && is_same_weights(a.judge_weights, b.judge_weights)) continue;
    throw ConfigError(fmt::format("--what latents: {} is {} on one side and {} on the other; only latent space and network may differ: give both the same value", key, x, y));
  }
}

SampleCost sample_cost(const Recipe& r) {
  const SpaceSpec& space = space_of(r);
  const auto billions = [](std::int64_t macs) { return static_cast<double>(macs) / 1e9; };
  return {.generator = billions(r.network.cost(true).macs_linear), .decoder = space.decode_macs == nullptr ? 0 : billions(space.decode_macs(r))};
}

std::vector<TableColumn> latents_columns() {
  return {{"parameters_m", "parameters, millions", "{:.3f}"},
          {"generator_gmacs", "GMACs a call", "{:.4f}"},
          {"decoder_gmacs", "GMACs, decoder", "{:.4f}"},
          {"training_seconds", "loss and gradients, s (estimate)", "{:.0f}"}};
}

std::vector<double> latents_costs(const Recipe& r, const Trial& t, const Variant& v) {
  const SampleCost sample = sample_cost(r);
  return {static_cast<double>(r.network.cost(true).all()) / 1e6, sample.generator, sample.decoder, t.cost ? t.cost->seconds * static_cast<double>(v.steps()) : Score::none};
}

Findings joined(std::vector<Side> sides) {
  refuse_two_references(sides);
  Findings all = sides.at(0).findings;
  all.variants.clear(), all.trials.clear(), all.levels.clear(), all.teacher.clear(), all.shown = {}, all.busy.clear();
  for (Side& side : sides) {
    Findings& f = side.findings;
    const std::size_t before = all.variants.size();
    for (Variant& v : f.variants) v.name = side.folder + ", " + v.name, all.variants.push_back(std::move(v));
    for (Trial& t : f.trials) {
      t.variant += before;
      if (!t.folder.empty()) t.folder = side.folder + "/" + t.folder;
      all.trials.push_back(std::move(t));
    }
    if (!f.busy.empty()) all.busy += fmt::format("{}{}: {}", all.busy.empty() ? "" : "; ", side.folder, f.busy);
    for (Level& l : f.levels) l.name = side.folder + ", " + l.name, all.levels.push_back(std::move(l));
  }
  return all;
}

std::vector<Plot> latents_plots(const Findings& f) {
  std::vector<Plot> plots;
  for (const char* metric : {"frechet", "kid"}) {
    const bool positive = std::string_view(metric) == "frechet";       // a KID near 0 may be negative, and a log axis would hide it
    Plot plot{.title = fmt::format("{} over the cost of a sample", metric), .x_label = "GMACs a sample, generator and decoder", .y_label = metric, .curves = {},
              .log_x = true, .log_y = positive};
    for (std::size_t i = 0; i < f.variants.size(); ++i) {
      const std::vector<const Trial*> trials = trials_of(f, i);
      const SampleCost cost = sample_cost(f.variants[i].recipe);
      Curve curve{.name = f.variants[i].name, .x = {}, .y = {}, .markers = true};
      for (const int calls : f.calls) {
        std::vector<double> values;
        for (const Trial* t : trials)
          for (const Score& s : t->scores)
            if (s.calls == calls && std::isfinite(s.metric(metric))) values.push_back(s.metric(metric));
        if (values.empty()) continue;
        curve.x.push_back(cost.of(calls)), curve.y.push_back(statistics(values).mean);
      }
      if (!curve.x.empty()) plot.curves.push_back(std::move(curve));
    }
    if (!plot.curves.empty()) plots.push_back(std::move(plot));
  }
  return plots;
}

}  // namespace fm
