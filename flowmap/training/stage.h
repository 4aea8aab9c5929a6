// Makes a stage of the training loop (nn/training/loop.h) from an objective, a network and batches:
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
  std::function<Batch(const StepPart&)> batch;             // returns these rows of the step's batch, a pure function; without data only labels and draws
  VelocityNet teacher = {};                                // guided, frozen; for objectives that need one
  std::int64_t beside = 0;                                 // above 0: the teacher is one of rows (z | k) with this many numbers of k, and batches have Batch::beside
  VelocitySource velocity = one_point();                   // source of the velocity w in the targets
  Shape shape = {};                                        // shape of a sample, for objectives without data
  bool averaged = true;                                    // false: no average of the weights is kept, for steps that are only measured
};

// A stage of the training loop, and its average. Copies share both.
struct FlowStage {
  Stage stage;
  Network average;                                         // network with the averaged weights, frozen, to sample from; empty if no average is kept
};

// `name`: the folder of the stage inside the run. ConfigError if the objective needs a teacher, data or a shape that `parts` lacks, if it cannot
// use a teacher of rows (z | k), or if its settings do not fit the number of steps.
FlowStage flow_stage(std::string name, const LoopConfig& loop, FlowParts parts);

// ConfigError if the objective calls the teacher where only z is known, and the teacher is one of rows (z | k). `beside`: as FlowParts::beside.
void check_teacher_of_rows(const std::string& name, const Needs& needs, std::int64_t beside);

// ConfigError unless the parts of a batch, on this number of ranks, are whole groups of `group` rows (Needs::group). `name`: the stage's name, for the message.
void check_groups(const std::string& name, const LoopConfig& loop, std::int64_t group, int ranks);

// Returns the random numbers of a part's rows. They depend only on seed, step and row, not on the micro-batch, the rank or a restart.
Draws draws_of(const StepPart& part, std::uint64_t seed);

// The numbers of a part's samples among all samples of a training with such batches.
Samples samples_of(const StepPart& part, std::int64_t batch);

// A batch without data: the numbers of its samples, and random labels in 0 ... classes - 1, all equally likely (no labels if classes is 0).
Batch label_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed, std::int64_t classes);

}  // namespace fm
