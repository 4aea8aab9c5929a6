// The three stages on latents: the flow-matching teacher, consistency mid-training, and MeanFlow (distilled or from data).
#include "apps/train/generator.h"
#include "apps/train/training_run.h"
#include "data/grid.h"
#include "data/png.h"
#include "nn/checkpoint.h"

namespace fm {
namespace {

constexpr std::int64_t preview_rows = 4;

std::vector<Metric> as_metrics(const ObjectiveLoss& o) {
  std::vector<Metric> out;
  for (const auto& [name, value] : o.metrics)
    if (name != "loss") out.push_back({name, value});
  return out;
}

// "teacher", "one-point" or "blend=L"
VelocitySource velocity_of(const std::string& name, const VelocityNet& teacher_net) {
  const auto learned = [&] { return teacher(teacher_net); };
  if (name == "teacher") return learned();
  if (name == "one-point") return one_point();
  if (name.starts_with("blend=")) {
    double lambda = -1;
    try {
      lambda = std::stod(name.substr(6));
    } catch (const std::exception&) {
    }
    if (lambda >= 0 && lambda <= 1) return blend(lambda, learned());
  }
  throw ConfigError("velocity '" + name + "': want teacher, one-point or blend=L with L in [0, 1]");
}

}  // namespace

// Fixed noise and labels, the same in every stage and at every step: one column a class.
void TrainingRun::write_preview(const LatentGenerator& generate, const std::filesystem::path& png) {
  const std::int64_t classes = recipe_.classes, n = preview_rows * classes;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % classes);
  const Tensor images = generate_images(rae(), generate, consecutive(0, n), labels, static_cast<std::uint64_t>(recipe_.seed), n, [](std::int64_t) {});
  write_png(png, make_grid(to_images(images), {.columns = static_cast<int>(classes), .scale = recipe_.image_size < 64 ? 2 : 1}));
}

Outcome TrainingRun::train_teacher() {
  const FmStage& config = recipe_.fm;
  const std::uint64_t seed = stage_seed("fm");
  prepare_stats();
  DitDhConfig model_config = recipe_.dit;
  model_config.mean_flow = false;
  DitDh model(model_config, seed);
  initialise(model, "random");
  DitDh average = clone(model);
  set_trainable(average, false);

  Stage stage = make_stage("fm", model, &average);
  stage.loss = [&](const StepPart& part) {
    const ObjectiveLoss o = flow_matching(velocity_net(model), flow_batch(part, config.loop.batch, seed), config.objective);
    return StepLoss{o.loss, as_metrics(o)};
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) {
    write_preview(ode_generator(guided(average), static_cast<int>(recipe_.evaluate.teacher_points), latent_shift()), png);
  };
  return train_loop(stage, config.loop, seed);
}

Outcome TrainingRun::train_cmt() {
  const CmtStage& config = recipe_.cmt;
  const std::uint64_t seed = stage_seed("cmt");
  prepare_stats();
  const DitDh teacher = load_teacher();
  DitDh model = new_student(seed);
  if (context_.launch.init_from.empty()) load_state(model, state_dict(teacher), false);   // R(t - s) is not in the teacher: it keeps its initial values
  else initialise(model, "random");
  DitDh average = clone(model);
  set_trainable(average, false);

  const auto classes = static_cast<std::uint32_t>(recipe_.classes);
  Stage stage = make_stage("cmt", model, &average);
  stage.loss = [&](const StepPart& part) {
    const Draws draws{seed, static_cast<std::uint32_t>(part.step), consecutive(part.step * config.loop.batch + part.first, part.count)};
    std::vector<std::int64_t> labels;
    for (std::int64_t sample : draws.samples) labels.push_back(below(RandomKey{seed, 0x4C41424C}.block(static_cast<std::uint64_t>(sample))[0], classes));
    const Shape latent{recipe_.dit.channels, recipe_.dit.input_size, recipe_.dit.input_size};
    const Trajectories rolled = roll_out(guided(teacher), latent, Tensor::from(labels, {part.count}), draws, config.objective);
    const ObjectiveLoss o = ::fm::cmt(flow_map_net(model), rolled, config.objective);
    return StepLoss{o.loss, as_metrics(o)};
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) { write_preview(flow_map_generator(flow_map_net(average), 1), png); };
  return train_loop(stage, config.loop, seed);
}

Outcome TrainingRun::train_mean_flow(const std::string& name, const MfStage& config, const std::string& init_stage) {
  const std::uint64_t seed = stage_seed(name.starts_with("ablate/") ? "mfd" : name);
  prepare_stats();
  const bool needs_teacher = config.velocity != "one-point";
  std::optional<DitDh> teacher;
  if (needs_teacher) teacher.emplace(load_teacher());
  DitDh model = new_student(seed);
  initialise(model, init_stage);
  DitDh average = clone(model);
  set_trainable(average, false);
  const VelocitySource velocity = velocity_of(config.velocity, needs_teacher ? guided(*teacher) : VelocityNet());

  Stage stage = make_stage(name, model, &average);
  stage.loss = [&](const StepPart& part) {
    const ObjectiveLoss o = ::fm::mean_flow(flow_map_net(model), flow_batch(part, config.loop.batch, seed), velocity, config.objective);
    return StepLoss{o.loss, as_metrics(o)};
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) { write_preview(flow_map_generator(flow_map_net(average), 1), png); };
  return train_loop(stage, config.loop, seed);
}

DitDh TrainingRun::new_student(std::uint64_t seed) const {
  DitDhConfig config = recipe_.dit;
  config.mean_flow = true;
  return DitDh(config, seed);
}

void TrainingRun::refuse_init_from(const std::string& stage) const {
  if (!context_.launch.init_from.empty()) throw ConfigError("--init-from: the stage " + stage + " begins from random weights; it is for fm, cmt, mfd and mft");
}

// --init-from, or the averaged weights of an earlier stage of this run; "random" leaves the initial values.
void TrainingRun::initialise(DitDh& model, const std::string& stage) {
  if (!context_.launch.init_from.empty()) {
    const std::string where = context_.launch.init_from + (context_.launch.init_from_ema ? ":ema" : "");
    load_model(model, load_weights(where, warner()), false);
    context_.log.info("weights from {}", where);
  } else if (stage != "random") {
    load_model(model, load_weights((root_ / stage).string() + ":ema", warner()), stage != "fm");
  }
}

}  // namespace fm
