// The claims of each objective of the list about its minimum, against closed forms: residuals, and expected gradients by quadrature. The expected numbers of
// biased settings come from an independent computation in float64.
#include "flowmap/certify.h"

#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/objective/list.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

double at(const std::vector<Bias>& found, double t) {
  for (const Bias& b : found)
    if (b.s == t && b.t == t) return b.gradient;
  return NAN;
}

}  // namespace

TEST_CASE("normal_quadrature gives the moments of the normal distribution and the mean of a cosine") {
  for (const int n : {1, 2, 5, 20, 48, 80, 160}) {
    CAPTURE(n);
    const Quadrature q = normal_quadrature(n);
    REQUIRE(std::ssize(q.nodes) == n);
    const auto mean = [&](auto f) {
      double sum = 0;
      for (std::size_t i = 0; i < q.nodes.size(); ++i) sum += q.weights[i] * f(q.nodes[i]);
      return sum;
    };
    CHECK(near(mean([](double) { return 1.0; }), 1, 1e-13));
    if (n >= 2) CHECK(near(mean([](double x) { return x * x; }), 1, 1e-13));
    if (n >= 3) CHECK(near(mean([](double x) { return x * x * x * x; }), 3, 1e-12));
    if (n >= 20) CHECK(near(mean([](double x) { return std::cos(1.3 * x); }), std::exp(-1.3 * 1.3 / 2), 1e-12));
  }
}

TEST_CASE("each objective's claims hold: its residual, and its bias on a Gaussian and on a mixture") {
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const Objective objective = without_clamps({}, name);
    const Certificate found = certify(objective);
    CHECK(contradiction(objective.claims, found) == "");
  }
}

TEST_CASE("the chosen preset is certified; a derivative with a warm-up is certified at the end of its warm-up") {
  ObjectiveConfig published;
  published.preset = "published";
  CHECK_FALSE(without_clamps(published, "mean_flow").claims.unbiased);
  CHECK(without_clamps({}, "mean_flow").claims.unbiased);
  CHECK(without_clamps(published, "flow_matching").claims.unbiased);           // certified with its plain settings: it has no published ones
  ObjectiveConfig rising;
  const auto rise = [](auto& entry) {
    if constexpr (requires { entry.tangent.warmup_over; }) entry.tangent.warmup_over = 0.2;
  };
  std::apply([&](auto&... entry) { (rise(entry), ...); }, rising.entries);
  for (const std::string name : {"mean_flow", "guided_mean_flow", "continuous_cm", "facm"}) {
    CAPTURE(name);
    const Objective objective = without_clamps(rising, name);
    CHECK(objective.claims.exact);
    CHECK(largest_residual(objective) < 1e-24);
  }
}

TEST_CASE("certificates contradict the claims of the negative controls") {
  for (const auto& control : negative_controls()) {
    CAPTURE(control.first);
    CHECK(contradiction(control.second.claims, certify(control.second)) != "");
  }
}

TEST_CASE("ESD along the noisy velocity of the source has the gradient of a wrong minimum") {
  const Objective objective = make_objective(EsdConfig{.velocity = "source"});
  CHECK(near(largest(bias_on_gaussian(objective)), 0.92, 0.006));
  CHECK(contradiction(objective.claims, certify(objective)) == "");
}

TEST_CASE("alpha-Flow with one-point velocities is biased to first order in alpha") {
  // `wanted` is the largest |d loss / d theta|, with two digits. The loss is divided by alpha.
  struct Case {
    double alpha, wanted, half_a_digit;
  };
  for (const Case& c : {Case{1.0, 0.89, 0.005}, {0.5, 0.30, 0.005}, {0.25, 0.12, 0.005}, {0.1, 0.046, 0.0005}, {0.05, 0.023, 0.0005}, {0.025, 0.012, 0.0005}, {0.005, 0.0023, 0.00005}}) {
    AlphaFlowConfig config;
    config.alpha = c.alpha, config.clamp = 0;
    const Objective objective = make_objective(config);
    CHECK_FALSE(objective.claims.unbiased);
    CHECK_FALSE(objective.claims.exact);
    CHECK(std::abs(largest(bias_on_gaussian(objective)) - c.wanted) <= c.half_a_digit);
  }
}

TEST_CASE("metrics that weigh a residual by its size are unbiased on a Gaussian and biased on a mixture") {
  struct Case {
    MetricConfig metric;
    double at3, at5, at8;                          // |gradient| of rows with s = t = .3, .5, .8
  };
  for (const Case& c : {Case{{"adaptive", "sum", 1, 1}, 0.0010, 0.0684, 0.2597}, Case{{"adaptive", "sum", 1, 0.75}, 0.0011, 0.0741, 0.2573},
                        Case{{"pseudo_huber", "sum", 1, 1}, 0.0006, 0.0370, 0.1159}}) {
    CAPTURE(c.metric.kind);
    MeanFlowConfig config;
    config.metric = c.metric;
    const Objective objective = make_objective(config);
    CHECK_FALSE(objective.claims.unbiased);
    const std::vector<Bias> on_mixture = bias_on_mixture(objective);
    CHECK(largest(bias_on_gaussian(objective)) < 1e-6);                  // no bias, by symmetry; the rest is the quadrature's error
    CHECK(std::abs(at(on_mixture, 0.3) - c.at3) < 1e-4);
    CHECK(near(at(on_mixture, 0.5), c.at5, 0.02));
    CHECK(near(at(on_mixture, 0.8), c.at8, 0.02));
  }
}

TEST_CASE("a target normalized by g / (|g| + 1) is biased on a mixture") {
  MeanFlowConfig config;
  config.tangent.normalise = 1;
  const std::vector<Bias> found = bias_on_mixture(make_objective(config));
  CHECK(std::abs(at(found, 0.3) - 0.0008) < 1e-4);
  CHECK(near(at(found, 0.5), 0.0502, 0.02));
  CHECK(near(at(found, 0.8), 0.1628, 0.02));
}

TEST_CASE("scaling a loss down does not hide its bias; a loss without a gradient gives no certificate") {
  MeanFlowConfig adaptive;
  adaptive.metric = {"adaptive", "sum", 1, 1};
  Objective scaled = make_objective(adaptive), enlarged = scaled, cut = make_objective(MeanFlowConfig{});
  for (auto [objective, factor] : {std::pair{&scaled, 1e-12}, std::pair{&enlarged, 1e6}, std::pair{&cut, 0.0}})
    objective->loss = [whole = objective->loss, factor = factor](const Nets& nets, const Drawn& drawn) {
      ObjectiveLoss out = whole(nets, drawn);
      out.loss = factor * out.loss;
      return out;
    };
  const Certificate small = certify(scaled), none = certify(cut);
  CHECK(largest(small.mixture) < 1e-12);
  CHECK(near(small.scale, 1e-12 * gradient_scale(make_objective(adaptive)), 1e-9));
  CHECK(gradient_scale(enlarged) == 1);                                // the scale is at most 1, so that no bound becomes wider
  CHECK(small.biased());
  CHECK_FALSE(small.unbiased());
  CHECK(contradiction({.exact = true, .unbiased = true}, small).starts_with("claims no bias, but its expected gradient"));
  CHECK(contradiction({.exact = true, .unbiased = true}, none).starts_with("has no gradient"));
}

TEST_CASE("a false claim is reported, whether it claims too much or too little") {
  MeanFlowConfig adaptive;
  adaptive.metric = {"adaptive", "sum", 1, 1};
  const Certificate biased = certify(make_objective(adaptive)), unbiased = certify(make_objective(MeanFlowConfig{}));
  CHECK(contradiction({.exact = true, .unbiased = true}, biased).starts_with("claims no bias, but its expected gradient"));
  CHECK(contradiction({.exact = true, .unbiased = false}, unbiased).starts_with("claims a bias, but its expected gradient"));
  MeanFlowConfig differences;
  differences.derivative.kind = "central", differences.derivative.delta = 0.05;
  const Certificate rough = certify(make_objective(differences));
  CHECK(contradiction({}, rough).starts_with("claims no residual at the true map, but its largest mean square there is"));
  CHECK(contradiction(make_objective(differences).claims, rough) == "");
}
