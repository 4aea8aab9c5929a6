// The three stages on latents: the flow-matching teacher, consistency mid-training, and MeanFlow (distilled or from data).
#include "apps/support/ranks.h"
#include "apps/train/generator.h"
#include "nn/training/parallel.h"
#include "apps/train/shown_classes.h"
#include "apps/train/training_run.h"
#include "data/grid.h"
#include "data/png.h"
#include "nn/checkpoint.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t preview_rows = 4;

// What an objective reports of rows with s < t, or of those with s = t, counts by their share.
std::vector<StepMetric> as_metrics(const ObjectiveLoss& o) {
  const auto found = o.metrics.find("off_diagonal_share");
  const double off = found == o.metrics.end() ? 0 : double(found->second);
  const auto weight = [&](const std::string& name) {
    if (name == "raw_mse_diagonal") return 1 - off;
    return name == "raw_mse_off_diagonal" || name == "derivative_ratio" || name == "clamped_share" ? off : 1.0;
  };
  std::vector<StepMetric> out;
  for (const auto& [name, value] : o.metrics)
    if (name != "loss") out.push_back({name, value, weight(name)});
  return out;
}

StepLoss as_step(const ObjectiveLoss& o) { return {o.loss, as_metrics(o)}; }

// Without the numbers of samples: all random numbers have been drawn, and a loss that asks for more in a recorded step must fail.
PathBatch all_drawn(PathBatch p) {
  p.draws = {};
  return p;
}

// Why a MeanFlow step is not the same work each time; empty: it is.
std::string varies(const std::string& name, const MeanFlowConfig& config) {
  if (!config.pairs.exact_share) return fmt::format("the number of rows with s < t is drawn at each step: set {}.objective.pairs.exact_share", name);
  if (config.pairs.null_rows_diagonal)
    return fmt::format("which rows have s < t depends on the labels drawn at each step: leave {}.objective.pairs.null_rows_diagonal out", name);
  if (!config.compat.fd_share_label_drop) return "this compat draws labels on the way";
  return "";
}

// Strict but for R(t - s), which a teacher does not have: it keeps its initial values.
void start_from(DitDh& model, Weights weights) {
  const auto stored = [&](const std::string& name) {
    return std::any_of(weights.tensors.begin(), weights.tensors.end(), [&](const auto& entry) { return entry.first == name; });
  };
  const auto is_second_time = [](const std::string& name) { return name.starts_with("r_embedder."); };
  const bool from_teacher =
      std::none_of(weights.tensors.begin(), weights.tensors.end(), [&](const auto& entry) { return is_second_time(entry.first); }) &&
      std::none_of(weights.unread.begin(), weights.unread.end(), [&](const UnreadEntry& entry) { return is_second_time(entry.name); });
  for (const auto& [name, t] : state_dict(model))
    if (from_teacher && is_second_time(name) && !stored(name)) weights.tensors.emplace_back(name, t.clone());
  load_model(model, weights);
}

}  // namespace

VelocitySource velocity_source(const std::string& name, const VelocityNet& teacher_net) {
  const double lambda = teacher_share(name);
  if (lambda == 0) return one_point();
  return lambda == 1 ? teacher(teacher_net) : blend(lambda, teacher(teacher_net));
}

// Fixed noise and labels, the same in every stage and at every step: one column a class, of many classes some (shown_classes).
void TrainingRun::write_preview(const LatentGenerator& generate, const std::filesystem::path& png) {
  if (!has_decoder())
    return context_.log.warning("no pictures of {}: there is no trained decoder in {}", png.stem().string(), (root_ / "decoder").string());
  const int scale = grid_scale(recipe_.image_size);
  const ShownClasses shown = shown_classes(recipe_.classes, class_names(), narrow<int>(recipe_.image_size), scale);
  const std::int64_t columns = std::ssize(shown.labels), n = preview_rows * columns;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(shown.labels[static_cast<std::size_t>(i % columns)]);
  try {
    const Tensor images =
        generate_images(autoencoder(), generate, consecutive(0, n), labels, static_cast<std::uint64_t>(recipe_.seed), sampling_batch());
    write_png(png, make_grid(to_images(images),
                             {.columns = narrow<int>(columns), .scale = scale, .title = shown.title, .column_labels = shown.names}));
  } catch (const SamplesNotFinite& e) {         // the average may recover; the training's own numbers decide whether it has diverged
    context_.log.warning("no pictures of {}: {}", png.stem().string(), e.what());
  }
}

Outcome TrainingRun::train_teacher() {
  const FmStage& config = recipe_.fm;
  const std::uint64_t seed = stage_seed("fm");
  prepare_stats();
  DitDhConfig model_config = recipe_.dit;
  model_config.mean_flow = false;
  const auto model = std::make_shared<DitDh>(model_config, seed);
  initialise(*model, "random");
  const auto average = std::make_shared<DitDh>(clone(*model));
  set_trainable(*average, false);

  Stage stage = make_stage("fm", *model, average.get());
  stage.prepare = [&] { latent_source(); };
  stage.made_from = {{"encoder", checksum(state_dict(rae().encoder))}};
  stage.set_loss<PathBatch>(
      [&](const StepPart& part) { return all_drawn(draw_diagonal(flow_batch(part, config.loop.batch, seed), config.objective)); },
      [&](const PathBatch& p) { return as_step(flow_matching(model, p, config.objective)); });
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) {
    write_preview(ode_generator(guided(average), narrow<int>(recipe_.evaluate.teacher_points), latent_shift()), png);
  };
  return train_loop(stage, config.loop, seed);
}

Outcome TrainingRun::train_cmt() {
  const CmtStage& config = recipe_.cmt;
  const std::uint64_t seed = stage_seed("cmt");
  prepare_stats();
  const std::shared_ptr<const DitDh> teacher = load_teacher();
  const std::shared_ptr<DitDh> model = new_student(seed);
  if (context_.launch.init_from.empty()) start_from(*model, {root_ / "fm", state_dict(*teacher), -1, nullptr});
  else initialise(*model, "random");
  const auto average = std::make_shared<DitDh>(clone(*model));
  set_trainable(*average, false);

  const auto classes = narrow<std::uint32_t>(recipe_.classes, "classes");
  Stage stage = make_stage("cmt", *model, average.get());
  stage.made_from = {{"teacher", checksum(state_dict(*teacher))}, {"start", checksum(state_dict(*model))}};
  const auto draw = [&](const StepPart& part) {
    const Draws draws{seed, narrow<std::uint32_t>(part.step, "step"), consecutive(part.step * config.loop.batch + part.first, part.count)};
    std::vector<std::int64_t> labels;
    for (std::int64_t sample : draws.samples)
      labels.push_back(below(RandomKey{seed, 0x4C41424C}.block(static_cast<std::uint64_t>(sample))[0], classes));
    const Shape latent{recipe_.dit.channels, recipe_.dit.input_size, recipe_.dit.input_size};
    return draw_jumps(roll_out(guided(teacher), latent, Tensor::from(labels, {part.count}), draws, config.objective), config.objective);
  };
  stage.set_loss<CmtBatch>(draw, [&](const CmtBatch& jumps) { return as_step(::fm::cmt(model, jumps, config.objective)); });
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) { write_preview(flow_map_generator(average, 1), png); };
  return train_loop(stage, config.loop, seed);
}

void TrainingRun::check_exact_share(const std::string& stage, const MfStage& config) const {
  if (config.objective.pairs.exact_share && !same_parts_as_alone(config.loop.batch, config.loop.micro_batch, context_.ranks->size()))
    throw ConfigError(fmt::format("{}.objective.pairs.exact_share counts rows in each micro-batch: on {} ranks set loop.micro_batch so that "
                                  "each rank gets equally many of them", stage, context_.ranks->size()));
}

Outcome TrainingRun::train_mean_flow(const MeanFlowTraining& training) {
  const MfStage& config = training.config;
  const std::string &part = training.part, &start = training.start;
  const std::uint64_t seed = stage_seed(part, training.seed);
  check_exact_share(part, config);
  prepare_stats();
  const bool needs_teacher = teacher_share(config.velocity) > 0;
  const std::shared_ptr<const DitDh> teacher = needs_teacher ? load_teacher() : nullptr;
  const std::shared_ptr<DitDh> model = new_student(seed);
  initialise(*model, start);
  const auto average = std::make_shared<DitDh>(clone(*model));
  set_trainable(*average, false);
  const VelocitySource velocity = velocity_source(config.velocity, teacher ? guided(teacher) : VelocityNet());

  Stage stage = make_stage(training.folder, *model, average.get());
  stage.prepare = [&] { latent_source(); };
  Recipe described = recipe_;                      // an ablation's variant has a config of its own
  described.seed = training.seed;
  stage.part = part;
  (stage.part == "mft" ? described.mft : described.mfd) = config;
  stage.fields = list_fields(described);
  stage.made_from = {{"encoder", checksum(state_dict(rae().encoder))}, {"start", checksum(state_dict(*model))}};
  if (config.objective.metric.kind == "adaptive" || config.objective.compat.squared_adaptive_metric)
    stage.remark = "the metric is adaptive: the loss stays near 1; raw_mse in metrics.csv and report.html tells how training goes";
  if (teacher) stage.made_from.emplace_back("teacher", checksum(state_dict(*teacher)));
  stage.not_recorded = varies(stage.part, config.objective);
  if (stage.not_recorded.empty()) {
    stage.set_loss<PathBatch>(
        [&](const StepPart& rows) {
          return all_drawn(draw_path_batch(flow_batch(rows, config.loop.batch, seed), config.objective.pairs, config.objective.labels));
        },
        [&](const PathBatch& p) { return as_step(::fm::mean_flow(model, p, velocity, config.objective)); });
  } else {
    stage.loss = [&](const StepPart& rows) {
      return as_step(::fm::mean_flow(model, flow_batch(rows, config.loop.batch, seed), velocity, config.objective));
    };
  }
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) { write_preview(flow_map_generator(average, 1), png); };
  return train_loop(stage, config.loop, seed);
}

std::shared_ptr<DitDh> TrainingRun::new_student(std::uint64_t seed) const {
  DitDhConfig config = recipe_.dit;
  config.mean_flow = true;
  return std::make_shared<DitDh>(config, seed);
}

std::shared_ptr<const DitDh> TrainingRun::start_of_flow_map(const std::string& stage) {
  const std::shared_ptr<DitDh> model = new_student(stage_seed("mfd"));
  if (stage != "random") start_from(*model, stage_weights(stage));
  return model;
}

std::vector<std::pair<std::string, std::string>> TrainingRun::sources_of_flow_map(const std::string& start, bool taught) {
  prepare_stats();
  NamedTensors statistics{{"var", rae().stats.variance}};
  if (rae().stats.mean.defined()) statistics.emplace_back("mean", rae().stats.mean);
  std::vector<std::pair<std::string, std::string>> out{{"encoder", checksum(state_dict(rae().encoder))},
                                                       {"statistics", checksum(statistics)},
                                                       {"latents", data_checksum()}};
  out.emplace_back("start", start == "random" ? start : start + " " + checksum(stage_weights(start).tensors));
  if (taught) out.emplace_back("teacher", checksum(state_dict(*load_teacher())));
  return out;
}

void TrainingRun::refuse_init_from(const std::string& stage) const {
  if (!context_.launch.init_from.empty())
    throw ConfigError("--init-from: the stage " + stage + " begins from random weights; it is for fm, cmt, mfd and mft");
}

// --init-from, or the averaged weights of an earlier stage of this run; "random" leaves the initial values.
void TrainingRun::initialise(DitDh& model, const std::string& stage) {
  if (!context_.launch.init_from.empty()) {
    start_from(model, load_weights(context_.launch.init_from + (context_.launch.init_from_ema ? ":ema" : ""), warner()));
  } else if (stage != "random") {
    start_from(model, stage_weights(stage));
  }
}

}  // namespace fm
