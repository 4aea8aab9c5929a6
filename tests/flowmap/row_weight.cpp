// A learned log variance of rows: the loss and its minimum in closed form, the objectives that use it, and a training with it. The training resumes with
// the same bits, the log variance has no weight decay, and other programs load the network without it.
#include <algorithm>
#include <cmath>

#include "data/points.h"
#include "flowmap/objective/esd.h"
#include "flowmap/objective/lsd.h"
#include "flowmap/objective/scaled_cm.h"
#include "flowmap/objective/split_mean_flow.h"
#include "flowmap/training/stage.h"
#include "nn/checkpoint.h"
#include "nn/models/flow_mlp.h"
#include "nn/models/row_weight.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// ---- a training of points ---------------------------------------------------------------------------------------------------------------------------

const LoopConfig loop{.steps = 6, .batch = 8, .rate = {.peak = 1e-2}, .adamw = {.weight_decay = 0.5}, .ckpt_every = 3};
const FlowMlpConfig mlp_config{.width = 16, .depth = 2, .classes = 8, .mean_flow = true};

Objective objective(bool row_weight = true) {
  SplitMeanFlowConfig config;
  config.row_weight = row_weight, config.labels.null_label = 8;
  return make_objective(config);
}

FlowStage stage_of(const LoopConfig& settings, const Objective& o) {
  return flow_stage("map", settings, {.objective = o, .network = Network(std::make_shared<FlowMlp>(mlp_config, 1)), .batch = [](const StepPart& part) {
    static const Points data({.name = "8gaussians"}, Split::train);
    const Samples samples = samples_of(part, loop.batch);
    return Batch{data.rows(samples), data.labels(samples), draws_of(part, 3)};
  }});
}

struct StopAt : LoopObserver {
  explicit StopAt(std::int64_t step) : at(step) {}
  void step_done(std::int64_t step, const StepReport&) override { now = step; }
  std::string stop_reason() override { return now == at ? "a test" : ""; }
  std::int64_t at, now = -1;
};

Outcome run(FlowStage& flow, const LoopConfig& settings, const std::filesystem::path& out, std::int64_t stop_at = -1) {
  SingleRank alone;
  StopAt observer(stop_at);
  return train(flow.stage, settings, 3, {.out = out}, alone, observer);
}
Outcome run(const std::filesystem::path& out, std::int64_t stop_at = -1) {
  FlowStage flow = stage_of(loop, objective());
  return run(flow, loop, out, stop_at);
}

Tensor tensor_of(const NamedTensors& list, const std::string& name) {
  const auto it = std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.first == name; });
  REQUIRE_MESSAGE(it != list.end(), name);
  return it->second;
}

bool beside(const std::pair<std::string, Tensor>& named) { return named.first.starts_with(beside_the_model); }

}  // namespace

TEST_CASE("the row loss is e^-l L + l: its slope in l is 1 - e^-l L, which is 0 at l = log L, and the network's gradient is divided by e^l") {
  const Tensor residual = Tensor::from<double>({1, 2, 0.5, -1, 3, 0}, {3, 2}), weight = times({2, 1, 1});
  PathBatch p;
  p.s = times({0.1, 0.2, 0.5}), p.t = times({0.4, 0.9, 0.5}), p.off_diagonal = 2;
  const std::vector<double> L{5, 0.625, 4.5}, l{0.3, -0.2, std::log(4.5)};
  Tape tape;
  const Var r = tape.variable(residual), learned = tape.variable(times(l));
  const ObjectiveLoss out = report_weighed(measure(r, {}, weight), p, true, [&](const Tensor& s, const Tensor& t) {
    CHECK((s.shares_memory_with(p.s) && t.shares_memory_with(p.t)));
    return learned;
  });
  double wanted = 0;
  for (std::size_t i = 0; i < 3; ++i) wanted += (std::exp(-l[i]) * L[i] + l[i]) / 3;
  CHECK(near(out.loss.value().item(), wanted, 1e-14));
  CHECK(near(out.metrics.at("loss").value(), wanted, 1e-14));
  CHECK(near(out.metrics.at("log_variance").value(), (l[0] + l[1] + l[2]) / 3, 1e-14));
  CHECK(near(out.metrics.at("raw_mse").value(), (2.5 + 0.625 + 4.5) / 3, 1e-14));           // mean square of residuals, without weights
  CHECK(near(out.metrics.at("raw_mse_diagonal").value(), 4.5, 1e-14));
  Gradients g = backward(out.loss);
  const auto of_l = g[learned].to_vector<double>(), of_r = g[r].to_vector<double>();
  for (std::size_t i = 0; i < 2; ++i) CHECK(near(of_l[i], (1 - std::exp(-l[i]) * L[i]) / 3, 1e-13));
  CHECK(near_zero(of_l[2], 1e-15));
  CHECK(near(of_r[1], std::exp(-0.3) * 2 * 2 / 3, 1e-13));     // weight 2, d mean(r^2) / dr = r
  CHECK(report_weighed(measure(residual, {}), p, false, {}).metrics.count("log_variance") == 0);
  CHECK(has(error_of<Error>([&] { report_weighed(measure(residual, {}), p, true, {}); }), "no log variance of rows: set Nets::log_variance"));
}

TEST_CASE("objectives with a row weight require one and apply it to every row") {
  const SmallNet small;
  const LogVariance l = [](const Tensor& s, const Tensor& t) { return Var(t + 2.0 * s - 0.7); };
  const auto check = [&](auto config) {
    CHECK_FALSE(make_objective(config).needs.row_weight);
    config.labels = {0, 4};
    const Nets nets{.net = small.net(), .log_variance = l};
    const Batch batch = gaussian_batch(16);
    const ObjectiveLoss plain = loss_on(config, nets, batch);
    config.row_weight = true;
    const Objective o = make_objective(config);
    CHECK(o.needs.row_weight);
    CHECK(o.claims.unbiased);
    const ObjectiveLoss weighed = o.loss(nets, o.draw(batch, nets, {}));
    const Tensor variance = l(plain.s, plain.t).value();
    CHECK(near(weighed.loss.value().item(), mean(exp(-variance) * plain.raw + variance).item(), 1e-13));
    CHECK(near(weighed.metrics.at("raw_mse").value(), plain.metrics.at("raw_mse").value(), 1e-14));
    CHECK_THROWS_AS(o.loss({.net = small.net()}, o.draw(batch, nets, {})), Error);
  };
  check(SplitMeanFlowConfig{});
  check(LsdConfig{});
  check(EsdConfig{});
  SctConfig sct;
  sct.warmup = 1, sct.sigma_weight = false;                    // with data of deviation 1, raw is then the loss of a row
  check(sct);
}

TEST_CASE("a resumed training with a row weight ends with the same bits; the row weight is stored beside the model") {
  const TempFolder folder;
  const auto whole = folder.path() / "whole", parts = folder.path() / "parts";
  CHECK(run(whole) == Outcome::finished);
  CHECK(run(parts, 4) == Outcome::stopped);
  CHECK(run(parts) == Outcome::finished);
  const auto last = [](const std::filesystem::path& out) { return out / "map" / "checkpoints" / step_name(loop.steps); };
  for (const char* part : {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}) CHECK(read_file(last(whole) / part) == read_file(last(parts) / part));

  const Checkpoint checkpoint(last(whole));
  for (const char* part : {"model", "ema"}) {
    const NamedTensors stored = checkpoint.part(part);
    CHECK(std::count_if(stored.begin(), stored.end(), beside) == 5);
    CHECK(max(abs(tensor_of(stored, "row_weight.out.weight")).reshape({-1}), 0).item() > 1e-4);       // it began at 0
    // Other programs load the network alone.
    const Weights weights = load_weights(last(whole).string() + ":" + part, {});
    CHECK(std::none_of(weights.tensors.begin(), weights.tensors.end(), beside));
    FlowMlp plain(mlp_config, 2);
    load_model(plain, weights);
    for (const auto& [name, tensor] : state_dict(plain)) CHECK(max_difference(tensor, tensor_of(stored, name)) == 0);
    load_model(plain, load_weights((whole / "map").string() + ":" + part, {}));
  }
  const NamedTensors model = checkpoint.part("model"), average = checkpoint.part("ema");
  CHECK(max_difference(tensor_of(model, "row_weight.out.bias"), tensor_of(average, "row_weight.out.bias")) > 1e-6);
}

TEST_CASE("weight decay applies to the network's parameters, not to the row weight's") {
  const TempFolder folder;
  LoopConfig one = loop;
  one.steps = one.ckpt_every = 1;
  FlowStage flow = stage_of(one, objective());
  for (const NamedParameter& p : flow.stage.trained) CHECK(p.decays == !p.name.starts_with(beside_the_model));
  CHECK(run(flow, one, folder.path()) == Outcome::finished);
  // The row weight's first layer has not changed: its gradient in the first step was 0, because the last layer was 0.
  const Tensor now = tensor_of(flow.stage.model, "row_weight.in.weight"), begin = RowWeight().in.weight.value;
  CHECK(max_difference(now, begin) == 0);
  CHECK(max(abs(begin).reshape({-1}), 0).item() > 0.01);
  CHECK(max(abs(tensor_of(flow.stage.model, "row_weight.out.bias")), 0).item() > 1e-3);
}

TEST_CASE("a stage without a row weight contains only the network") {
  const FlowStage flow = stage_of(loop, objective(false));
  CHECK(std::none_of(flow.stage.model.begin(), flow.stage.model.end(), beside));
  CHECK(flow.stage.loss({1, 0, 8, -1, 6}).metrics.size() > 1);
}
