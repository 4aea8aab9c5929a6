#include "apps/ablate/variants.h"

#include <algorithm>

namespace fm {
namespace {

MfStage with_difference(MfStage stage, double delta) {
  stage.objective.derivative.kind = "central";
  stage.objective.derivative.delta = delta;
  return stage;
}

MfStage with_jvp(MfStage stage) {
  stage.objective.derivative.kind = "jvp";
  return stage;
}

MfStage from_data(MfStage stage) {
  stage.velocity = "one-point";
  return stage;
}

// The whole schedule in `steps`: a part of a long one would end at another learning rate.
MfStage shortened(MfStage stage, std::int64_t steps) {
  LearningRate& rate = stage.loop.rate;
  for (std::int64_t* step : {&rate.warmup_steps, &rate.decay_begin, &rate.decay_end})
    *step = *step * steps / std::max<std::int64_t>(1, stage.loop.steps);
  stage.loop.steps = steps;
  return stage;
}

std::string derivative_text(const DerivativeConfig& d) { return d.kind == "jvp" ? "jvp" : fmt::format("{}, step {:g}", d.kind, d.delta); }

}  // namespace

std::vector<Variant> variants(const AblateConfig& c) {
  std::vector<Variant> list;
  const auto add = [&](const std::string& name, const std::string& start, const MfStage& config, std::optional<MfStage> then = {}) {
    list.push_back({name, "ablate/" + c.what + "/" + name, start, config, c.recipe.dit.precision, std::move(then)});
  };
  const MfStage& base = c.recipe.mfd;
  if (c.what == "derivative") {
    for (const std::string& precision : c.precisions) {
      const std::string suffix = precision == "f32" ? "" : "-" + precision;
      add("jvp" + suffix, "cmt", with_jvp(base));
      for (double delta : c.deltas) add(fmt::format("fd-{:g}{}", delta, suffix), "cmt", with_difference(base, delta));
      for (std::size_t i = list.size() - c.deltas.size() - 1; i < list.size(); ++i) list[i].precision = precision;
    }
  } else if (c.what == "init") {
    for (const char* start : {"random", "fm", "cmt"}) add(start, start, base);
  } else {
    add("mft", "cmt", from_data(base));
    add("mfd", "cmt", base);
    const std::int64_t half = base.loop.steps / 2;
    add("mfd-then-mft", "cmt", shortened(base, half), shortened(from_data(base), base.loop.steps - half));
  }
  return list;
}

std::string describe(const Variant& v) {
  const auto part = [](const MfStage& stage) {
    return fmt::format("{} steps of {}, velocity {}, derivative {}", stage.loop.steps, stage.loop.batch, stage.velocity,
                       derivative_text(stage.objective.derivative));
  };
  return fmt::format("{:<13} from {:<7} {}{}{}", v.name, v.start, part(v.config), v.then ? ", then " + part(*v.then) : "",
                     v.precision == "f32" ? "" : ", " + v.precision);
}

Outcome train(TrainingRun& run, const Variant& v) {
  if (!v.then) return run.train_mean_flow(v.stage, v.config, v.start);
  const std::string first = v.stage + "-first";
  if (run.train_mean_flow(first, v.config, v.start) == Outcome::stopped) return Outcome::stopped;
  return run.train_mean_flow(v.stage, *v.then, first);
}

}  // namespace fm
