// From an objective, networks and batches to a stage of the training loop (nn/training/loop.h):
//
//   const Network net(std::make_shared<FlowMlp>(config, seed));
//   FlowStage flow = flow_stage("mean_flow", loop, {.objective = make_objective(MeanFlowConfig{}), .network = net,
//                                                   .batch = [&](const StepPart& part) { return rows_of(data, part); }});
//   train(flow.stage, loop, seed, {.out = "runs/a"}, alone, files);                       // the same line resumes it
//   const Tensor samples = sample_flow_map(flow.average.u(), noise, {}, plain_grid(1));
#pragma once

#include <functional>
#include <string>

#include "flowmap/objective/entry.h"
#include "flowmap/training/network.h"
#include "nn/training/loop.h"

namespace fm {

struct FlowParts {
  Objective objective;
  Network network;                                         // is trained, from its present weights on
  std::function<Batch(const StepPart&)> batch;             // these rows of the step's batch: a pure function. Without data: labels (or none) and draws
  VelocityNet teacher = {};                                // guided, frozen; for objectives that need one
  VelocitySource velocity = one_point();                   // w of the targets
  Shape shape = {};                                        // of a sample, for objectives without data
  bool averaged = true;                                    // false: no average of the weights is kept, for steps that are only measured
};

// The stage, and its parts. Copies share them.
struct FlowStage {
  Stage stage;
  Network average;                                         // of the weights, frozen: samples come from it. Empty if no average is kept
};

// `name`: the folder of the stage inside the run. ConfigError, before the first step: the settings of the objective do not fit the number of steps, or
// it needs a teacher, data or a shape that is not there.
FlowStage flow_stage(std::string name, const LoopConfig& loop, FlowParts parts);

// ConfigError unless the parts of a batch, on this number of ranks, are whole groups of `group` rows (Needs::group). `name`: the stage's, for the message.
void check_groups(const std::string& name, const LoopConfig& loop, std::int64_t group, int ranks);

// The random numbers of a part's rows, by step and row: the same in any micro-batch, on any rank and after a restart.
Draws draws_of(const StepPart& part, std::uint64_t seed);

// The numbers of a part's samples among all samples of a training with such batches.
Samples samples_of(const StepPart& part, std::int64_t batch);

// A batch without data: labels in 0 ... classes - 1, drawn evenly (0 classes: none), and the numbers of its samples.
Batch label_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed, std::int64_t classes);

}  // namespace fm
