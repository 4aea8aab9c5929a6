#include "flowmap/training/stage.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "nn/checkpoint.h"
#include "nn/models/row_weight.h"
#include "nn/training/parallel.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// The data that all steps of a stage share.
struct Shared {
  FlowParts parts;
  Nets nets;
  std::int64_t steps;
};

StepLoss as_step(const ObjectiveLoss& o) {
  StepLoss out{o.loss, {}};
  for (const auto& [name, metric] : o.metrics)
    if (name != "loss") out.metrics.push_back({name, metric, o.share(metric.over)});
  return out;
}

// Removes the sample numbers. All random draws have been made, and a loss that draws more in a recorded step must fail.
Drawn all_drawn(Drawn drawn) {
  drawn.p.draws = {};
  return drawn;
}

// Adds to the stage the averaged network that computes the objective's targets, and returns this network.
Network add_target(Stage& stage, const Network& network, const Objective& objective, std::int64_t steps) {
  const Network target = network.clone();
  target.freeze();
  for (const auto& [name, tensor] : target.state()) stage.state.emplace_back("target." + name, tensor);
  stage.after_step = [=, fixed = objective.needs.target_decay, moved = objective.target_decay](std::int64_t step) {
    target.follow(network, moved ? moved({step, steps}) : fixed);
  };
  return target;
}

// Adds a learned log variance to the stage and returns it. The log variance is trained (without weight decay) and averaged beside the network, and stored
// in its checkpoints. load_weights() leaves the log variance out, because it is not part of the network.
LogVariance add_row_weight(Stage& stage, bool averaged) {
  const auto own = std::make_shared<RowWeight>();
  const auto append = [](RowWeight& from, std::vector<NamedParameter>& parameters, NamedTensors& tensors) {
    for (NamedParameter p : named_parameters(from)) p.name = beside_the_model + std::move(p.name), p.decays = false, parameters.push_back(p);
    for (const auto& [name, tensor] : state_dict(from)) tensors.emplace_back(beside_the_model + name, tensor);
  };
  append(*own, stage.trained, stage.model);
  if (!averaged) return [own](const Tensor& s, const Tensor& t) { return (*own)(s, t); };
  const auto average = std::make_shared<RowWeight>(clone(*own));
  set_trainable(*average, false);
  append(*average, stage.averaged, stage.ema);
  return [own, average](const Tensor& s, const Tensor& t) { return (*own)(s, t); };
}

void check(const std::string& name, const LoopConfig& loop, const FlowParts& parts) {
  const auto missing = [&](const char* what, const char* field) {
    return ConfigError(fmt::format("{}: its objective needs {}: set FlowParts::{}", name, what, field));
  };
  const Needs& needs = parts.objective.needs;
  if (!parts.objective.loss || !parts.objective.draw) throw missing("a loss", "objective");
  if (!parts.batch) throw missing(needs.data ? "data" : "labels and draws", "batch");
  if (needs.teacher && !parts.teacher) throw missing("a teacher", "teacher");
  check_teacher_of_rows(name, needs, parts.beside);
  if (needs.velocity && !parts.velocity) throw missing("a source of velocities", "velocity");
  if (!needs.data && parts.shape.rank() == 0) throw missing("the shape of a sample", "shape");
  check_groups(name, loop, needs.group, 1);
  if (parts.objective.check) parts.objective.check(loop.steps);
}

}  // namespace

FlowStage flow_stage(std::string name, const LoopConfig& loop, FlowParts parts) {
  check(name, loop, parts);
  FlowStage out{{.name = std::move(name), .trained = parts.network.parameters(), .model = parts.network.state()}, {}};
  Stage& stage = out.stage;
  if (parts.averaged) {
    out.average = parts.network.clone();
    out.average.freeze();
    stage.averaged = out.average.parameters(), stage.ema = out.average.state();
  }
  Nets nets{.net = parts.network.u(), .teacher = parts.teacher, .beside = parts.beside, .velocity = parts.velocity, .shape = parts.shape};
  const Needs& needs = parts.objective.needs;
  if (needs.target_decay >= 0) nets.target = add_target(stage, parts.network, parts.objective, loop.steps).u();
  if (needs.row_weight) nets.log_variance = add_row_weight(stage, parts.averaged);
  stage.not_recorded = parts.objective.not_recorded;
  const auto shared = std::make_shared<const Shared>(Shared{std::move(parts), std::move(nets), loop.steps});
  stage.set_loss<Drawn>(
      [shared](const StepPart& rows) {
        const Objective& objective = shared->parts.objective;
        Drawn drawn = objective.draw(shared->parts.batch(rows), shared->nets, {rows.step, shared->steps});
        return objective.not_recorded.empty() ? all_drawn(std::move(drawn)) : drawn;
      },
      [shared](const Drawn& drawn) { return as_step(shared->parts.objective.loss(shared->nets, drawn)); });
  return out;
}

void check_teacher_of_rows(const std::string& name, const Needs& needs, std::int64_t beside) {
  if (needs.teacher_of_z && beside > 0)
    throw ConfigError(fmt::format("{}: its objective calls the teacher at points of its own, and this teacher (REG) needs the class token of an image there, which is only known "
                                  "on the path of the data: train with mean_flow or another objective that takes the teacher as its velocity, or give a SiT or REPA as "
                                  "the teacher", name));
}

void check_groups(const std::string& name, const LoopConfig& loop, std::int64_t group, int ranks) {
  for (const auto& [key, rows] : {std::pair{"batch", loop.batch}, {"micro_batch", loop.micro_batch}})
    if (rows % group != 0)
      throw ConfigError(fmt::format("{}: its objective takes rows in groups of {}: change loop.{} = {} to a multiple of this number", name, group, key, rows));
  for (int rank = 1; group > 1 && rank < ranks; ++rank)
    if (const std::int64_t first = rows_of_rank(loop.batch, loop.micro_batch, rank, ranks).front().first; first % group != 0)
      throw ConfigError(fmt::format("{}: its objective takes rows in groups of {}, and {} ranks cut the batch of {} at row {}: make loop.batch a multiple of {}",
                                    name, group, ranks, loop.batch, first, group * ranks));
}

Draws draws_of(const StepPart& part, std::uint64_t seed) {
  return {seed, narrow<std::uint32_t>(part.step, "step"), consecutive(part.first, part.count)};
}

Samples samples_of(const StepPart& part, std::int64_t batch) { return consecutive(part.step * batch + part.first, part.count); }

Batch label_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed, std::int64_t classes) {
  Batch out;
  out.draws = {seed, narrow<std::uint32_t>(part.step, "step"), samples_of(part, batch)};
  if (classes == 0) return out;
  const auto n = narrow<std::uint32_t>(classes, "classes");
  std::vector<std::int64_t> labels;
  for (const std::int64_t sample : out.draws.samples)
    labels.push_back(below(RandomKey{seed, 0x4C41424C}.block(static_cast<std::uint64_t>(sample))[0], n));
  out.y = Tensor::from(labels, {part.count});
  return out;
}

}  // namespace fm
