// Trainings of flow maps as a library: by every objective of the list, on any network, with checkpoints. Parts that do not fit are errors before the first step.
#include "flowmap/training/stage.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "nn/checkpoint_folder.h"
#include "tensor/io/atomic_file.h"
#include "tests/flowmap/small_training.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

const LoopConfig& loop = small_loop;

// Stops the training after step `at`.
struct StopAt : LoopObserver {
  explicit StopAt(std::int64_t step) : at(step) {}
  void step_done(std::int64_t step, const StepReport&) override { now = step; }
  std::string stop_reason() override { return now == at ? "a test" : ""; }
  std::int64_t at, now = -1;
};

// Starts or resumes a training as another process would, with newly initialized networks.
Outcome run(const std::string& objective, const std::filesystem::path& out, std::int64_t stop_at = -1) {
  FlowStage flow = flow_stage("map", loop, parts_for(objective_named(objective)));
  SingleRank alone;
  StopAt observer(stop_at);
  return train(flow.stage, loop, 3, {.out = out}, alone, observer);
}

std::string file(const std::filesystem::path& out, const std::string& name) { return read_file(out / "map" / "checkpoints" / step_name(loop.steps) / name); }

}  // namespace

TEST_CASE("every objective of the list trains through one function; a stopped and resumed training ends with the same bits") {
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const TempFolder folder;
    const auto whole = folder.path() / "whole", parts = folder.path() / "parts";
    CHECK(run(name, whole) == Outcome::finished);
    CHECK(run(name, parts, 4) == Outcome::stopped);
    CHECK(run(name, parts) == Outcome::finished);
    for (const char* part : {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}) CHECK(file(whole, part) == file(parts, part));
  }
}

TEST_CASE("a rewind restores weights, average, target network, optimizer and step") {
  const TempFolder folder;
  using Files = std::vector<std::string>;
  const auto files = [&] {
    Files out;
    for (const char* part : {"model", "ema", "optimizer", "state"}) out.push_back(read_file(folder.path() / "map/checkpoints" / step_name(2) / (std::string(part) + ".safetensors")));
    out.push_back(nlohmann::json::parse(read_file(folder.path() / "map/checkpoints" / step_name(2) / "state.json")).at("loss").dump());
    return out;
  };
  struct Steps : LoopObserver {
    std::function<Files()> files;
    Files before, after;
    std::vector<std::int64_t> done;
    void step_done(std::int64_t step, const StepReport&) override { done.push_back(step); }
    void saved(std::int64_t step) override {
      if (step == 2 && before.empty()) before = files();
    }
    void rewound(std::int64_t) override { after = files(); }
  } seen;
  seen.files = files;
  // Step 6 explodes twice. The first explosion rewinds to step 4, the second to step 2.
  LoopConfig often = loop;
  often.ckpt_every = 2, often.keep = 9;
  FlowStage flow = flow_stage("map", often, parts_for(objective_named("shortcut")));
  int times = 0;
  flow.stage.watch.on_explosion = "rewind";
  flow.stage.loss = [&, loss = flow.stage.loss](const StepPart& part) {
    StepLoss out = loss(part);
    if (part.step == 5 && times++ < 2) out.loss = out.loss * std::nan("");
    return out;
  };
  SingleRank alone;
  CHECK(train(flow.stage, often, 3, {.out = folder.path()}, alone, seen) == Outcome::finished);
  CHECK(seen.done == std::vector<std::int64_t>{1, 2, 3, 4, 5, 5, 3, 4, 5, 6});
  REQUIRE(seen.before.size() == 5);
  CHECK(seen.after == seen.before);
  CHECK(newest_step(folder.path() / "map/checkpoints") == 6);
  // Another process that resumes from the checkpoint of the rewind, with its lower rate, ends with the same bits.
  const auto end = [&](const std::filesystem::path& out) { return file(out, "model.safetensors") + file(out, "ema.safetensors"); };
  const std::filesystem::path resumed = folder.path() / "resumed";
  std::filesystem::create_directories(resumed / "map/checkpoints");
  std::filesystem::copy(folder.path() / "map/checkpoints" / step_name(2), resumed / "map/checkpoints" / step_name(2));
  CHECK(run("shortcut", resumed) == Outcome::finished);
  CHECK(end(resumed) == end(folder.path()));
}

TEST_CASE("training updates the network in place; its average and the target network follow with their own decays") {
  const FlowParts parts = parts_for(objective_named("shortcut"));
  const Network before = parts.network.clone();
  FlowStage flow = flow_stage("map", loop, parts);
  CHECK(flow.stage.state.size() == parts.network.state().size());
  const TempFolder folder;
  SingleRank alone;
  LoopObserver observer;
  train(flow.stage, loop, 3, {.out = folder.path()}, alone, observer);
  const Tensor z = normal({4, 2}, 5, DType::f32), s = Tensor::full({4}, 0.25), t = Tensor::full({4}, 0.75);
  const Tensor first = evaluate(before.u(), z, s, t, {}), now = evaluate(parts.network.u(), z, s, t, {}), average = evaluate(flow.average.u(), z, s, t, {});
  CHECK(max_difference(first, now) > 1e-4);
  CHECK(max_difference(first, average) > 1e-5);
  CHECK(max_difference(average, now) > 1e-5);
  // The decay is 0.999: after a few steps the targets' network is nearly where it began.
  const auto weight = [](const NamedTensors& list, const std::string& name) {
    for (const auto& [key, tensor] : list)
      if (key == name) return tensor;
    throw Error("no " + name);
  };
  const Tensor start = weight(before.state(), "in.weight"), target = weight(flow.stage.state, "target.in.weight"), end = weight(parts.network.state(), "in.weight");
  const double moved = max_difference(end, start), followed = max_difference(target, start);
  CHECK(followed > 0);
  CHECK(followed < 0.02 * moved);
}

TEST_CASE("the parts of a batch must be whole groups of the objective's rows, on any number of ranks") {
  const auto error = [](std::int64_t batch, std::int64_t micro, std::int64_t group, int ranks) {
    return error_of<ConfigError>([&] { check_groups("map", {.batch = batch, .micro_batch = micro}, group, ranks); });
  };
  CHECK(error(16, 0, 4, 1) == "no error");
  CHECK(error(16, 8, 4, 2) == "no error");
  CHECK(error(24, 0, 4, 3) == "no error");
  CHECK(error(18, 0, 1, 4) == "no error");
  CHECK(mentions(error(18, 0, 4, 1), {"map", "objective", "4", "loop.batch = 18"}));
  CHECK(mentions(error(16, 6, 4, 1), {"map", "objective", "4", "loop.micro_batch = 6"}));
  CHECK(mentions(error(16, 0, 4, 3), {"map", "4", "3 ranks", "16", "5", "loop.batch", "12"}));
  CHECK(error(48, 16, 4, 3) == "no error");
  ImmConfig three;
  three.group = 3;
  CHECK(error_of<ConfigError>([&] { flow_stage("map", loop, parts_for(make_objective(three))); }) ==
        "map: its objective takes rows in groups of 3: change loop.batch = 8 to a multiple of this number");
}

TEST_CASE("the decay of a target average may change during the training, as in CT") {
  CtConfig ct;
  ct.labels.null_label = 8;
  const FlowParts parts = parts_for(make_objective(ct));
  const FlowStage flow = flow_stage("map", loop, parts);
  const auto weight = [](const NamedTensors& list, const std::string& name) {
    return std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.first == name; })->second;
  };
  const Tensor own = weight(parts.network.state(), "in.weight"), target = weight(flow.stage.state, "target.in.weight");
  for (const std::int64_t step : {1, 3, 6}) {
    own.fill(1), target.fill(0);
    flow.stage.after_step(step);
    CHECK(near(target.to_vector<float>()[0], 1 - std::pow(0.9, 2.0 / static_cast<double>(ct.points({step, loop.steps}))), 1e-4));
  }
}

TEST_CASE("a metric of some rows is weighted by the number of these rows") {
  const Objective objective = objective_named("mean_flow");
  const FlowStage flow = flow_stage("map", loop, parts_for(objective));
  const StepLoss whole = flow.stage.loss({1, 0, 8, -1, 6});
  const auto metric = [](const StepLoss& of, const std::string& name) -> const StepMetric* {
    for (const StepMetric& m : of.metrics)
      if (m.name == name) return &m;
    return nullptr;
  };
  const double share = metric(whole, "off_diagonal_share")->value.value();
  REQUIRE(share > 0);
  REQUIRE(share < 1);
  CHECK(metric(whole, "raw_mse")->weight == 1);
  CHECK(metric(whole, "raw_mse_diagonal")->weight == 1 - share);
  for (const char* name : {"raw_mse_off_diagonal", "derivative_ratio", "clamped_share"}) CHECK(metric(whole, name)->weight == share);
  CHECK(metric(whole, "loss") == nullptr);
  // The weighted mean over the two halves of a batch is the mean over the whole batch.
  double sum = 0, weights = 0;
  for (const std::int64_t first : {0, 4}) {
    const StepLoss half = flow.stage.loss({1, first, 4, -1, 6});
    if (const StepMetric* m = metric(half, "raw_mse_off_diagonal")) sum += m->weight * m->value.value(), weights += m->weight;
  }
  CHECK(near(sum / weights, metric(whole, "raw_mse_off_diagonal")->value.value(), 1e-5));
}

TEST_CASE("a missing input of an objective is an error before the first step, and the error names the input") {
  const auto error = [](const char* objective, const std::function<void(FlowParts&)>& change) {
    FlowParts parts = parts_for(objective_named(objective));
    change(parts);
    return error_of<ConfigError>([&] { flow_stage("map", loop, parts); });
  };
  CHECK(error("cmt", [](FlowParts&) {}) == "no error");
  CHECK(mentions(error("cmt", [](FlowParts& p) { p.teacher = {}; }), {"map", "objective", "FlowParts::teacher"}));
  CHECK(mentions(error("cmt", [](FlowParts& p) { p.shape = {}; }), {"map", "objective", "FlowParts::shape"}));
  CHECK(mentions(error("mean_flow", [](FlowParts& p) { p.batch = {}; }), {"map", "objective", "FlowParts::batch"}));
  CHECK(error("mean_flow", [](FlowParts& p) { p.teacher = {}, p.shape = {}; }) == "no error");
  AlphaFlowConfig alpha;
  alpha.alpha.begin = 0.9, alpha.alpha.end = 5;                // the change would begin at step 5.4 of 6, after its end at step 5
  CHECK(error("mean_flow", [&](FlowParts& p) { p.objective = make_objective(alpha); }).starts_with("alpha_flow.alpha: the change from 1 to 0 begins at step 5.4"));
}
