// Guidance inside the target: w by hand, its interval, the scale at the fixed point, and equality with MeanFlow without guidance.
#include "flowmap/objective/guided_mean_flow.h"

#include <cmath>

#include "flowmap/objective/improved_mean_flow.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

const LabelDropout some_dropped{0.3, 4};

PathBatch points(std::int64_t rows, double diagonal = 0.5) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, some_dropped); }

GuidedMeanFlowConfig with(double omega, double kappa, double low = 0, double high = 1) {
  GuidedMeanFlowConfig c;
  c.omega = omega, c.kappa = kappa, c.low = low, c.high = high, c.labels = some_dropped;
  return c;
}

}  // namespace

TEST_CASE("w mixes the given velocity and the network's own, inside the interval and only for rows with a label") {
  const SmallNet small;
  const PathBatch p = points(64);
  const Tensor none = null_labels(p.y, 4), vh = one_point()(p);
  const std::vector<double> t = p.t.to_vector<double>(), given = vh.to_vector<double>();
  const std::vector<double> own = evaluate(small.net(), p.z, p.t, p.t, p.y).to_vector<double>(), null = evaluate(small.net(), p.z, p.t, p.t, none).to_vector<double>();
  const std::vector<std::int64_t> labels = p.y.to_vector<std::int64_t>();
  for (const auto& [omega, kappa] : {std::pair{0.2, 0.92}, {1.5, 0.0}, {0.6, 0.4}, {1.0, 0.5}}) {
    int calls = 0, guided_rows = 0, dropped = 0, outside = 0;
    std::int64_t rows = 0;
    const VelocityNet v = [&, u = small.net()](const Var& z, const Var& at, const Labels& y) { return ++calls, rows += z.dim(0), u(z, at, at, y); };
    const std::vector<double> w = self_guided(v, one_point(), with(omega, kappa, 0.2, 0.7).guidance())(p).to_vector<double>();
    CHECK(calls == 1);
    CHECK(rows == 64 * ((kappa != 0 ? 1 : 0) + (omega + kappa == 1 ? 0 : 1)));           // no velocity whose factor in w is 0
    double worst = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t row = i / dim;
      const bool acts = t[row] >= 0.2 && t[row] <= 0.7 && labels[row] != 4;
      guided_rows += acts, dropped += labels[row] == 4, outside += t[row] < 0.2 || t[row] > 0.7;
      const double wanted = acts ? omega * given[i] + kappa * own[i] + (1 - omega - kappa) * null[i] : given[i];
      worst = std::max(worst, std::abs(w[i] - wanted));
    }
    CHECK(worst < 1e-14);
    CHECK((guided_rows > 0 && dropped > 0 && outside > 0));
  }
  CHECK(max_difference(self_guided(diagonal(small.net()), one_point(), with(1, 0).guidance())(p), vh) == 0);
}

TEST_CASE("a velocity fitted to w converges to guidance of scale omega / (1 - kappa)") {
  for (const auto& [omega, kappa] : {std::pair{0.2, 0.92}, {1.0, 0.5}, {2.0, 0.0}}) {
    // Velocities that depend only on the label: a is the data's velocity with the label, b is the velocity without it.
    constexpr double a = 1.5, b = -0.5;
    double labelled = 0;
    const VelocityNet v = [&](const Var& z, const Var&, const Labels& y) {
      std::vector<double> out;
      for (const std::int64_t label : y.to_vector<std::int64_t>()) out.push_back(label == 4 ? b : labelled);
      return Var(column(Tensor::from(out, {y.dim(0)}), z.rank()).expand(z.shape()).contiguous());
    };
    PathBatch p;
    p.z = Tensor::zeros({1, 1}, DType::f64), p.t = Tensor::full({1}, 0.5, DType::f64), p.y = Tensor::from<std::int64_t>({2}, {1});
    const VelocitySource given = [](const PathBatch&) { return Tensor::full({1, 1}, a, DType::f64); };
    for (int i = 0; i < 800; ++i) labelled = self_guided(v, given, with(omega, kappa).guidance())(p).item();
    CHECK(near(labelled, b + omega / (1 - kappa) * (a - b), 1e-12));
  }
  CHECK(near(with(0.2, 0.92).omega / (1 - with(0.2, 0.92).kappa), 2.5, 1e-12));
}

TEST_CASE("the target is MeanFlow's, with w as the velocity and as the direction of du/dt") {
  const SmallNet small;
  const PathBatch p = points(16);
  const GuidedMeanFlowConfig config = with(0.2, 0.92, 0, 0.75);
  const Tensor none = null_labels(p.y, 4), own = evaluate(small.net(), p.z, p.t, p.t, p.y), null = evaluate(small.net(), p.z, p.t, p.t, none);
  const Tensor mask = column((1.0 - greater(p.t, Tensor::scalar(0.75, DType::f64))) * (1.0 - equal(p.y.to(DType::f64), Tensor::scalar(4, DType::f64))), 2);
  const Tensor w = mask * (0.2 * one_point()(p) + 0.92 * own - 0.12 * null) + (1.0 - mask) * one_point()(p);
  const auto u = [&](double h) { return evaluate(small.net(), p.z + h * w, p.s, p.t + h, p.y); };
  const double h = 1e-3;
  const Tensor dudt = ((u(h) - u(-h)) * 8.0 - (u(2 * h) - u(-2 * h))) / (12 * h);
  const Tensor residual = u(0) - (w - column(p.t - p.s, 2) * dudt);
  const Nets nets{.net = small.net(), .velocity = one_point()};
  CHECK(near(config.loss(nets, {p, {}}).loss.value().item(), mean(square(residual)).item(), 1e-9));
}

TEST_CASE("without guidance, the loss is MeanFlow's to the bit; with guidance, the gradient differs") {
  const SmallNet small;
  const PathBatch p = points(16);
  const Nets nets{.net = small.net(), .velocity = one_point()};
  const MeanFlowConfig plain;
  const auto g = gradient(small, [&] { return mean_flow(small.net(), p, one_point(), plain).loss; });
  CHECK(max_difference(g, gradient(small, [&] { return with(1, 0).loss(nets, {p, {}}).loss; })) == 0);
  CHECK(max_difference(g, gradient(small, [&] { return with(1, 0.5).loss(nets, {p, {}}).loss; })) > 1e-3);
}

TEST_CASE("guidance needs labels and adds to the cost; an empty interval is refused") {
  const SmallNet small;
  PathBatch p = points(4);
  p.y = {};
  const Nets nets{.net = small.net(), .velocity = one_point()};
  CHECK(has(error_of<ConfigError>([&] { with(1, 0.5).loss(nets, {p, {}}); }), "guidance inside a target needs labels"));
  CHECK(error_of<ConfigError>([&] { with(1, 0).loss(nets, {p, {}}); }) == "no error");
  CHECK(with(1, 0.5).needs().labels);
  CHECK(!with(1, 0).needs().labels);
  const double alone = MeanFlowConfig().needs().passes;
  CHECK(near(with(0.2, 0.92).needs().passes, alone + 2, 1e-15));
  CHECK(near(with(1.5, 0).needs().passes, alone + 1, 1e-15));
  for (const auto& [omega, kappa] : {std::pair{0.5, 0.5}, {0.7, 0.3}}) CHECK(near(with(omega, kappa).needs().passes, alone + 1, 1e-15));
  CHECK(near(with(1, 0).needs().passes, alone, 1e-15));
  CHECK(error_of<ConfigError>([] { make_objective(with(1, 0.5, 0.6, 0.5), "map.objective.guided_mean_flow").check(10); }) ==
        "map.objective.guided_mean_flow.low = 0.6 is above map.objective.guided_mean_flow.high = 0.5: no time would be guided. Lower the first or raise the second");
  GuidedMeanFlowConfig undropped = with(0.2, 0.92);                      // the share of the velocity without a label is -0.12
  undropped.labels.probability = 0;
  CHECK(error_of<ConfigError>([&] { make_objective(undropped, "g").check(10); }) ==
        "g.omega gives the network's velocity without a label the share -0.12 of the targets, and with g.labels.probability = 0 the network never learns it: "
        "raise the probability (0.1)");
  undropped.omega = 0.7, undropped.kappa = 0.3;                          // 1 - 0.7 - 0.3 is 6e-17
  CHECK_NOTHROW(make_objective(undropped, "g").check(10));
}

TEST_CASE("a guided objective does not aim at its velocity's flow map; without guidance it does") {
  GuidedMeanFlowConfig guided;
  CHECK_FALSE(guided.claims().flow_map);
  guided.omega = 1, guided.kappa = 0;
  CHECK(guided.claims().flow_map);
  ImprovedMeanFlowConfig improved;
  CHECK(improved.claims().flow_map);
  improved.omega = 2;
  CHECK_FALSE(improved.claims().flow_map);
}
