// Training steps on a GPU during which the host does not wait, reads nothing and requests no memory; the same steps recorded as a graph; prefetched
// batches. Without a GPU, tests/support/host_cuda runs all work late and in the schedule's order.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "flowmap/objective/cmt.h"
#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/mean_flow.h"
#include "nn/models/dit_dh.h"
#include "nn/optim/adamw.h"
#include "tensor/error.h"
#include "tensor/graph.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"
#include "tensor/random/fill.h"
#include "tensor/upload.h"

using namespace fm;

namespace {

const Device gpu = Device::cuda(0);
constexpr std::int64_t rows = 8, classes = 3;
const Shape latent{4, 3, 3};

DitDhConfig tiny(bool mean_flow) {
  return {.input_size = 3, .channels = 4, .width = 16, .depth = 1, .heads = 2, .head_width = 24, .head_depth = 1, .head_heads = 2,
          .classes = classes, .mean_flow = mean_flow};
}

// A model with its averaged weights and optimizer. All weights are random, because final layers that start at zero leave most gradients zero.
struct Trained {
  DitDh model, average;
  AdamW optimizer;

  explicit Trained(bool mean_flow) : model(make(mean_flow)), average(clone(model)), optimizer(named_parameters(model), {.clip = 0.05}) {
    optimizer.add_average(named_parameters(average), 0.9, true);
  }
  static DitDh make(bool mean_flow) {
    DitDh m(tiny(mean_flow), 7);
    std::uint32_t i = 0;
    for_each_parameter(m, [&](const std::string&, Parameter& p) {
      if (p.trainable) p.value.copy_from(random_normal(p.value.shape(), {11, i++}) * 0.2);
    });
    return m;
  }
};

VelocityNet velocity(const DitDh& m) { return [&m](const Var& z, const Var& t, const Labels& y) { return m(z, t, y); }; }
FlowMapNet flow_map(const DitDh& m) { return [&m](const Var& z, const Var& s, const Var& t, const Labels& y) { return m(z, s, t, y); }; }
VelocityNet guided(const DitDh& m) { return cfg(velocity(m), 2.5, classes); }

const LabelDropout dropout{.probability = 0.3, .null_label = classes};
const FlowMatchingConfig fm_config{.labels = dropout};
const MeanFlowConfig mfd_config{.pairs = {.diagonal_share = 0.5, .exact_share = true}, .labels = dropout, .metric = {.kind = "adaptive"}, .tangent = {.mask = true}};

Draws draws(std::uint32_t step) { return {5, step, consecutive(step * rows, rows)}; }

// The data of a step, on the host.
struct HostBatch {
  Tensor z0, y;
};
HostBatch host_batch(std::uint32_t step) {
  const DefaultDevice here{Device{}};
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows; ++i) labels.push_back((i + step) % classes);
  return {draws(step).normal(latent, DType::f32, Purpose::sampling), Tensor::from(labels, {rows})};
}
Batch batch(std::uint32_t step) {
  const HostBatch b = host_batch(step);
  return {b.z0.to(gpu), b.y.to(gpu), draws(step)};
}

using Loss = std::function<ObjectiveLoss(std::uint32_t step)>;

StepStats train(Trained& t, std::uint32_t step, const Loss& loss, ObjectiveLoss* numbers = nullptr) {
  Tape tape;
  ObjectiveLoss o = loss(step);
  const StepStats stats = t.optimizer.step(backward(o.loss), {.lr = 1e-2 / (1 + step)});
  if (numbers) *numbers = std::move(o);
  return stats;
}

cuda::Counts counts() { return cuda::on(gpu).counts(); }

void check_steady(Trained& t, const Loss& loss) {
  ObjectiveLoss numbers;                                         // kept while the next step runs, as in a training loop
  StepStats stats;
  for (std::uint32_t step = 0; step < 3; ++step) stats = train(t, step, loss, &numbers);
  synchronise(gpu);
  const cuda::Counts before = counts();
  for (std::uint32_t step = 3; step < 5; ++step) stats = train(t, step, loss, &numbers);
  CHECK(counts().waits == before.waits);
  CHECK(counts().allocations == before.allocations);
  CHECK(double(stats.gradient_norm) > 0.05);                     // 0.05 is the bound to which gradients are clipped
  CHECK(double(numbers.metrics.at("raw_mse")) > 0);
  CHECK(counts().waits == before.waits + 2);                     // one for each number that was read
}

std::vector<float> weights(Trained& t) {
  std::vector<float> all;
  for (DitDh* m : {&t.model, &t.average})
    for_each_parameter(*m, [&](const std::string&, Parameter& p) {
      const auto values = p.value.to_vector<float>();
      all.insert(all.end(), values.begin(), values.end());
    });
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("a warm step neither waits for the device nor allocates memory, for flow matching, CMT and MeanFlow by JVP") {
  const DitDh teacher = Trained::make(false);
  Trained fm(false), cmt(true), mfd(true);
  check_steady(fm, [&](std::uint32_t step) { return flow_matching(velocity(fm.model), draw_diagonal(batch(step), fm_config), fm_config); });
  check_steady(cmt, [&](std::uint32_t step) {
    const CmtConfig config{.points = 4, .pairs = 3, .jitter = 0.5, .labels = dropout};
    return ::fm::cmt(flow_map(cmt.model), roll_out(guided(teacher), latent, batch(step).y, draws(step), config), config);
  });
  check_steady(mfd, [&](std::uint32_t step) { return loss_on(mfd_config, {.net = flow_map(mfd.model), .velocity = fm::teacher(guided(teacher))}, batch(step)); });
}

TEST_CASE("a gradient that is not finite changes no weight; the optimizer reports it") {
  Trained t(false);
  const Loss loss = [&](std::uint32_t step) { return flow_matching(velocity(t.model), draw_diagonal(batch(step), fm_config), fm_config); };
  train(t, 0, loss);
  const std::vector<float> before = weights(t);
  const Loss broken = [&](std::uint32_t step) {
    ObjectiveLoss o = loss(step);
    o.loss = o.loss * std::numeric_limits<double>::quiet_NaN();
    return o;
  };
  const StepStats stats = train(t, 1, broken);
  CHECK(std::isnan(double(stats.gradient_norm)));
  CHECK(!t.optimizer.first_not_finite(stats.squares).empty());
  CHECK(same_bits(weights(t), before));
  CHECK(std::isfinite(double(train(t, 2, loss).gradient_norm)));
  CHECK(!same_bits(weights(t), before));
}

namespace {

void copy(const PathBatch& from, const PathBatch& to) {
  for (const auto& [a, b] : {std::pair{from.z0, to.z0}, {from.eps, to.eps}, {from.z, to.z}, {from.s, to.s}, {from.t, to.t}, {from.y, to.y}}) b.copy_from(a);
}

using PathLoss = std::function<ObjectiveLoss(const DitDh&, const PathBatch&)>;

// Runs the same four steps directly and as a graph, which gets other points and another learning rate for each replay.
void check_replays(bool mean_flow, const PathLoss& loss) {
  Trained eager(mean_flow), recorded(mean_flow);
  const auto points = [&](std::uint32_t step) { return draw_path_batch(batch(step), mfd_config.pairs, dropout); };
  const auto request = [](std::uint32_t step) { return StepRequest{.lr = 1e-2 / (1 + step)}; };
  const auto step = [&](Trained& t, const PathBatch& p, const StepRequest& r) {
    Tape tape;
    const ObjectiveLoss o = loss(t.model, p);
    const StepStats stats = t.optimizer.step(backward(o.loss), r);
    return std::pair{Late(o.loss.value()), stats.gradient_norm};
  };
  std::vector<double> losses, norms;
  for (std::uint32_t k = 0; k < 4; ++k) {
    const auto [l, n] = step(eager, points(k), request(k));
    losses.push_back(l.value()), norms.push_back(n.value());
  }

  const PathBatch in = points(0);
  Graph graph(gpu);
  std::pair<Late, Late> numbers;
  graph.record([&] { numbers = step(recorded, in, request(0)); });
  std::vector<Tensor> others;                                    // memory outside the graph's
  for (std::uint32_t k = 1; k < 4; ++k) {
    copy(points(k), in);
    for (std::int64_t n = 1; n < 4000; n = 2 * n + 1) others.push_back(Tensor::full({n}, k));
    recorded.optimizer.repeat(request(k));
    const std::int64_t waits = counts().waits;
    graph.replay();
    CHECK(counts().waits == waits);
    CHECK(double(numbers.first) == losses[k]);
    CHECK(double(numbers.second) == norms[k]);
  }
  CHECK(recorded.optimizer.updates() == 4);
  CHECK(same_bits(weights(recorded), weights(eager)));
  for (const Tensor& x : others)
    for (const float v : x.to_vector<float>()) REQUIRE(v == std::round(v));
}

}  // namespace

TEST_CASE("replayed steps give the same bits as direct steps, for flow matching and for MeanFlow by JVP with a guided teacher") {
  const DitDh teacher = Trained::make(false);
  check_replays(false, [](const DitDh& m, const PathBatch& p) { return flow_matching(velocity(m), p, fm_config); });
  check_replays(true, [&](const DitDh& m, const PathBatch& p) { return mean_flow(flow_map(m), p, fm::teacher(guided(teacher)), mfd_config); });
}

TEST_CASE("recording refuses uploads and downloads, and the device stays usable") {
  const Tensor x = Tensor::full({4}, 2);
  Graph graph(gpu);
  CHECK_THROWS_WITH_AS(graph.replay(), doctest::Contains("replay() was called before record()"), Error);
  int calls = 0;
  CHECK_THROWS_WITH_AS(graph.record([&] { if (++calls == 2) (void)x.to_vector<float>(); }), doctest::Contains("asks for a download"), Error);
  calls = 0;
  CHECK_THROWS_WITH_AS(graph.record([&] { if (++calls == 2) (void)Tensor::from<float>({1, 2}, {2}); }), doctest::Contains("asks for an upload"), Error);
  CHECK((x * 3).to_vector<float>() == std::vector<float>(4, 6));
  CHECK_THROWS_WITH_AS(Graph(Device{}), doctest::Contains("only work on a GPU"), DeviceError);
  CHECK_THROWS_AS(Graph(Device::cuda(9)), DeviceError);
}

TEST_CASE("uploads during computation do not overwrite memory still in use; several can run at once, and one may stay unused") {
  for (const std::int64_t n : {std::int64_t{3}, std::int64_t{5000}, std::int64_t{1200000}}) {
    CAPTURE(n);
    const Tensor ones = Tensor::ones({n}, DType::f32, Device{}), threes = ones * 3.0;
    Tensor old = Tensor::full({n}, 7);
    const Tensor seen = old + 1.0;                               // reads the block that the next upload gets
    old = Tensor();
    Upload a(ones, gpu), b(threes, gpu);
    { const Upload unused(threes, gpu); }
    const Tensor fresh = Tensor::full({n}, 5);                   // may get memory that was freed above
    const Tensor sum = a.take() + b.take() * 10.0;
    for (const auto& [x, value] : {std::pair{seen, 8.0}, {fresh, 5.0}, {sum, 31.0}}) {
      CHECK(-max(-1.0 * x, 0).item() == value);
      CHECK(max(x, 0).item() == value);
    }
  }
}

TEST_CASE("Arriving delivers the values from before later writes, with a single wait") {
  const Tensor x = Tensor::full({}, 3.5);
  Arriving numbers({Late(x), Late(2.0), Late(x * 2.0)});
  x.fill(9);
  const std::int64_t waits = counts().waits;
  CHECK(numbers.values() == std::vector<double>{3.5, 2, 7});
  CHECK(counts().waits == waits + 1);
  CHECK_THROWS_AS(numbers.values(), Error);
  { const Arriving dropped({Late(x)}); }
  CHECK(double(Late(x)) == 9);
  const Tensor bad = gather(Tensor::ones({3, 1}), Tensor::from<std::int64_t>({5}, {1}));
  Arriving wrong({Late(bad)});
  CHECK_THROWS_WITH_AS(wrong.values(), doctest::Contains("index 5 is not in [0, 3)"), ShapeError);
}
