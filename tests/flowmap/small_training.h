// A small training of a flow map for tests that run every objective of the list: points of the plane, an MLP, a teacher.
#pragma once

#include "data/points.h"
#include "flowmap/objective/list.h"
#include "flowmap/training/stage.h"
#include "nn/models/flow_mlp.h"

namespace fm::test {

inline const LoopConfig small_loop{.steps = 6, .batch = 8, .rate = {.peak = 1e-2}, .ckpt_every = 3};

inline Network small_mlp(bool two_times, std::uint64_t seed) {
  return Network(std::make_shared<FlowMlp>(FlowMlpConfig{.width = 16, .depth = 2, .classes = 8, .mean_flow = two_times}, seed));
}

inline Batch rows_of_points(const StepPart& part) {
  static const Points data({.name = "8gaussians"}, Split::train);
  const Samples samples = samples_of(part, small_loop.batch);
  return {data.rows(samples), data.labels(samples), draws_of(part, 3)};
}

inline FlowParts parts_for(const Objective& objective) {
  const Network teacher = small_mlp(false, 2);
  teacher.freeze();
  FlowParts parts{.objective = objective, .network = small_mlp(true, 1), .batch = rows_of_points, .teacher = teacher.v(), .velocity = velocity_source("blend=0.5", teacher.v()), .shape = {2}};
  if (!objective.needs.data) parts.batch = [](const StepPart& part) { return label_batch(part, small_loop.batch, 3, 8); };
  return parts;
}

// With `exact_shares` each batch has the same number of rows with s < t, if the entry has this setting. Steps can then be recorded.
inline Objective objective_named(const std::string& name, bool exact_shares = false) {
  ObjectiveConfig config;
  config.name = name;
  config.set_null_label(8);
  std::get<CmtConfig>(config.entries).points = 4;
  std::get<CmtConfig>(config.entries).pairs = 3;
  const auto count = [&](auto& entry) {
    if constexpr (requires { entry.pairs.exact_share; }) entry.pairs.exact_share = exact_shares;
  };
  std::apply([&](auto&... entry) { (count(entry), ...); }, config.entries);
  return config.chosen("objective");
}

}  // namespace fm::test
