// The stages on latents: the flow-matching teacher, consistency mid-training, MeanFlow (distilled or from data), and a flow map by any objective.
#include <fmt/format.h>

#include "data/grid.h"
#include "data/png.h"
#include "flowmap/metrics/sample_metrics.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/feature_rows.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/generator.h"
#include "flowmap/training/joint_generator.h"
#include "flowmap/training/shown_classes.h"
#include "flowmap/training/stage.h"
#include "nn/checkpoint.h"
#include "nn/training/parallel.h"
#include "nn/training/ranks.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t preview_rows = 4;

std::string remark_of(const MeanFlowConfig& config) {
  const bool adaptive = config.metric.kind == "adaptive" || config.compat.squared_adaptive_metric;
  return adaptive ? "the metric is adaptive: the loss stays near 1; raw_mse in metrics.csv and report.html shows how training goes" : "";
}

// The teacher's guidance, which the targets of a taught stage contain: "2.3 from 0 to 0.85", or "1" without guidance.
std::string guidance_text(const Recipe& r) {
  const bool everywhere = r.guidance == 1 || (r.guidance_from == 0 && r.guidance_to == 1);
  return everywhere ? fmt::format("{}", r.guidance) : fmt::format("{} from {} to {}", r.guidance, r.guidance_from, r.guidance_to);
}

}  // namespace

// Writes a grid of samples with fixed noise and labels, the same in every stage and at every step. The grid has a column for each class, or for some of
// many classes (shown_classes).
void TrainingRun::write_preview(const LatentGenerator& generate, const std::filesystem::path& png) {
  if (!has_decoder())
    return context_.log.warning("no images of {}: there is no trained {} in {}", png.stem().string(), decoder_stage(recipe_)->name, root_.string());
  const int scale = grid_scale(recipe_.image_size);
  const ShownClasses shown = shown_classes(recipe_.classes, class_names(), narrow<int>(recipe_.image_size), scale);
  const std::int64_t columns = std::ssize(shown.labels), n = preview_rows * columns;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(shown.labels[static_cast<std::size_t>(i % columns)]);
  try {
    const Tensor images =
        generate_images(decoding_space(), generate, consecutive(0, n), labels, static_cast<std::uint64_t>(recipe_.seed), sampling_batch());
    write_png(png, make_grid(to_images(images),
                             {.columns = narrow<int>(columns), .scale = scale, .title = shown.title, .column_labels = shown.names}));
  } catch (const SamplesNotFinite& e) {         // no error: the average may recover, and the loss decides whether the training has diverged
    context_.log.warning("no images of {}: {}", png.stem().string(), e.what());
  }
}

Outcome TrainingRun::train_generator(const StageSpec& stage) {
  const char* start = stage.start == nullptr ? nullptr : stage.start(recipe_);
  return train_flow({.folder = stage.name, .stage = stage, .recipe = recipe_, .start = start == nullptr ? "random" : start});
}

Outcome TrainingRun::train_variant(const std::string& folder, const StageSpec& stage, const Recipe& recipe, const std::string& start, std::int64_t seed) {
  Recipe described = recipe;
  described.seed = seed;
  return train_flow({.folder = folder, .stage = stage, .recipe = described, .start = start, .fields = list_fields(described)});
}

// Trains any generator: provides what its objective needs. The rest is the same for all objectives.
Outcome TrainingRun::train_flow(const FlowTraining& training) {
  const StageSpec& spec = training.stage;
  const LoopConfig& loop = spec.loop(training.recipe);
  const std::uint64_t seed = stage_seed(spec.name, training.recipe.seed);
  check_settings(spec, training.recipe, context_.ranks->size());
  prepare_stats();
  const bool taught = spec.is_taught(training.recipe), flow_map = spec.makes == Makes::flow_map;
  const Network teacher = taught || training.start == stage_that_makes(Makes::teacher).name ? load_teacher() : Network();
  FlowParts parts{.objective = spec.objective_in(training.recipe), .network = recipe_.network.make(flow_map, seed), .batch = {}, .shape = recipe_.latent_shape()};
  initialise(parts.network, training.start, teacher);
  const bool on_data = parts.objective.needs.data;
  parts.batch = [this, on_data, &loop, seed](const StepPart& rows) {
    return on_data ? flow_batch(rows, loop.batch, seed) : label_batch(rows, loop.batch, seed, recipe_.conditional ? recipe_.classes : 0);
  };
  if (taught) {
    const auto [v, beside] = teacher_velocity(teacher, parts.shape);
    parts.teacher = guided(v), parts.beside = beside;
    if (beside == 0 && !recipe_.class_token_weights.empty()) context_.log.warning("class_token_weights has no effect: the teacher has no class token");
  }
  parts.velocity = velocity_source(spec.velocity_in(training.recipe), parts.teacher, parts.beside > 0);

  const FlowStage flow = flow_stage(training.folder, loop, parts);
  Stage stage = flow.stage;
  stage.part = spec.name, stage.fields = training.fields;
  stage.remark = parts.objective.remark;
  if (spec.mean_flow != nullptr) stage.remark = remark_of((training.recipe.*spec.mean_flow).objective);
  const bool with_tokens = on_data && parts.beside > 0;
  if (with_tokens) {
    check_class_tokens(parts.beside);
    if (recipe_.guidance != 1)
      context_.log.warning("guidance of a REG at the class token of each image is weaker than in its samples, because the token also tells the class (docs/published_weights.md)");
  }
  if (on_data) {
    stage.prepare = [&] {
      latent_source();
      if (with_tokens) open_class_tokens(parts.beside);
    };
    stage.made_from = sources_of_latents();
    if (!stats_.defined()) stage.made_from.emplace_back("statistics", "none");         // so that a resumed training cannot turn statistics on
  }
  if (with_tokens) stage.made_from.emplace_back("class tokens", class_tokens_id());
  if (taught) {
    stage.made_from.emplace_back("teacher", checksum(teacher.state()));
    stage.made_from.emplace_back("guidance", guidance_text(recipe_));               // checkpoints of older versions have no such entry, and resume
  }
  if (flow_map) stage.made_from.emplace_back("start", checksum(parts.network.state()));
  const Needs& needs = parts.objective.needs;
  if (flow_map) {                                                      // for programs that load the weights: which sampler to use, which scores apply
    stage.made_from.emplace_back("sampler", sampler_of(needs.jumps).name);
    const bool guided_teacher = taught && recipe_.guidance != 1;       // a guided flow is not the data's
    stage.made_from.emplace_back("aim", aim_name(parts.objective.claims.flow_map && !guided_teacher));
  }
  if (space_of(recipe_).pictures)
    stage.preview = [this, flow_map, jumps = needs.jumps, average = flow.average](std::int64_t, const std::filesystem::path& png) {
      write_preview(flow_map ? flow_map_generator(average.u(), 1, jumps) : teacher_generator(average, recipe_.evaluate.teacher_points), png);
    };
  if (loop.score_every > 0) add_scores_of_average(stage, flow, needs.jumps, flow_map);
  return train_loop(stage, loop, seed);
}

// Scores the average every loop.score_every steps as an evaluation does: by all metrics of the list, at evaluate.samples samples. A flow map takes the first
// number of calls of evaluate.steps. Reference, features and decoder are opened before the first step.
void TrainingRun::add_scores_of_average(Stage& stage, const FlowStage& flow, Jumps jumps, bool flow_map) {
  const auto evaluator = std::make_shared<std::optional<Evaluator>>();
  const int calls = parse_steps(recipe_.evaluate.steps).front();
  const LatentGenerator generate = flow_map ? flow_map_generator(flow.average.u(), calls, jumps) : teacher_generator(flow.average, recipe_.evaluate.teacher_points);
  // A resumed training continues the columns and compares its checkpoints by them, so they must measure the same.
  const auto way_of_scoring = [&] {
    evaluator->emplace(*this);
    const std::string steps = flow_map ? fmt::format("{} calls", calls) : fmt::format("{} points, guidance {}", recipe_.evaluate.teacher_points, guidance_text(recipe_));
    return fmt::format("{}, {}, {}", (*evaluator)->text(), steps, decoding_space().decoding());
  };
  stage.made_from.emplace_back("way of scoring", gather_texts(*context_.ranks, context_.ranks.first() ? way_of_scoring() : "").front());
  for (const SampleMetric& metric : sample_metrics())
    for (const MetricValue& value : metric.values) {
      stage.scores.names.emplace_back(value.name);
      if (value.higher_is_better) stage.scores.higher.emplace_back(value.name);
    }
  for (auto* list : {&stage.scores.names, &stage.scores.higher}) list->emplace_back("accuracy");
  stage.scores.measure = [this, evaluator, generate, calls, names = stage.scores.names, name = stage.name, average = flow.average](std::int64_t step) {
    const ScoredGenerator generator{.of = {.name = name, .calls = calls, .stage = name, .step = step}, .network = average, .generate = generate};
    std::vector<double> out(names.size(), Score::none);
    try {
      const Score score = (*evaluator)->score(generator);
      for (std::size_t i = 0; i < names.size(); ++i) out[i] = names[i] == "accuracy" ? score.accuracy : score.metric(names[i]);
    } catch (const SamplesNotFinite& e) {        // as in write_preview: the average may recover
      context_.log.warning("no scores of step {}: {}", step, e.what());
    }
    return out;
  };
}

Network TrainingRun::start_of_flow_map(const std::string& stage) {
  const Network network = recipe_.network.make(true, stage_seed(stage_name::mfd));
  initialise(network, stage, stage == stage_that_makes(Makes::teacher).name ? load_teacher() : Network());
  return network;
}

std::vector<std::pair<std::string, std::string>> TrainingRun::sources_of_flow_map(const std::string& start, bool taught, bool on_data) {
  prepare_stats();
  Checksums out = sources_of_latents();
  out.emplace_back("latents", data_checksum());
  const StageSpec& teacher = stage_that_makes(Makes::teacher);
  const auto sum = [&] { return start == teacher.name && teacher.is_given(recipe_) ? checksum(load_teacher().state()) : checksum(stage_weights(start).tensors); };
  out.emplace_back("start", start == "random" ? start : start + " " + sum());
  if (!taught) return out;
  const Network network = load_teacher();
  out.emplace_back("teacher", checksum(network.state()));
  if (on_data && network.beside() > 0) out.emplace_back("class tokens", class_tokens_id());
  return out;
}

void TrainingRun::refuse_init_from(const std::string& stage) const {
  if (!context_.launch.init_from.empty())
    throw ConfigError("--init-from: the stage " + stage + " begins from random weights; the option is for " + words(generator_stages(), "and"));
}

// Sets the initial weights: those of --init-from if it is given, else the averaged weights of the stage `start` or, if `start` is the teacher's stage, of
// `teacher`. "random" leaves the network as it is.
void TrainingRun::initialise(const Network& network, const std::string& start, const Network& teacher) {
  std::string left_out;
  if (!context_.launch.init_from.empty()) {
    left_out = recipe_.network.start(network, recipe_.network.read(context_.launch.init_from + (context_.launch.init_from_ema ? ":ema" : ""), warner()));
  } else if (const StageSpec& taught = stage_that_makes(Makes::teacher); start == taught.name) {
    left_out = recipe_.network.start(network, {taught.is_given(recipe_) ? std::filesystem::path(recipe_.teacher_weights) : root_ / taught.name, teacher.state(), -1, nullptr});
  } else if (start != "random") {
    recipe_.network.start(network, generator_weights(start));
  }
  if (!left_out.empty()) context_.log.warning("{}", left_out);
}

}  // namespace fm
