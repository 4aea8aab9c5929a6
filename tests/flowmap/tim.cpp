// Transition models: the difference on the path, the weight of rows, and the limits that tie them to MeanFlow.
#include "flowmap/objective/tim.h"

#include <cmath>

#include "flowmap/objective/mean_flow.h"
#include "tests/flowmap/skewed.h"
#include "tests/flowmap/support.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

PathBatch points(std::int64_t rows, double diagonal = 0.5) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, {0, 4}); }

}  // namespace

TEST_CASE("TiM's derivative is a difference of two states made of the sample and its noise, for any w") {
  const SmallNet small;
  const GaussianFlow g = gaussian();
  const PathBatch p = points(12, 0);
  const double d = 0.005;
  const auto at = [&](double h) {
    const Tensor t = p.t + h, z = interpolate(p.z0, p.eps, t);
    return evaluate(small.net(), z, p.s, t, p.y);
  };
  const Tensor derivative = (at(d) - at(-d)) / (2 * d), u = evaluate(small.net(), p.z, p.s, p.t, p.y);
  TransitionModelConfig config;
  config.derivative.clamp_times = false;
  for (const VelocitySource& w : {one_point(), teacher(g.v())}) {
    const Tensor residual = u - (w(p) - column(p.t - p.s, 2) * derivative);
    const auto t = p.t.to_vector<double>(), s = p.s.to_vector<double>();
    std::vector<double> a;
    for (std::size_t i = 0; i < t.size(); ++i) a.push_back(1 / std::sqrt(std::tan(t[i]) - std::tan(s[i]) + 1));
    const Tensor L = row_sums(square(residual)) / 5.0;
    const ObjectiveLoss out = transition_model(small.net(), p, w, config);
    CHECK(near(out.loss.value().item(), mean(times(a) * L).item(), 1e-11));
    CHECK(near(out.metrics.at("raw_mse").value(), mean(L).item(), 1e-11));
    TransitionModelConfig published = config;
    published.metric = {"adaptive", "mean", 1e-5, 1};
    CHECK(near(transition_model(small.net(), p, w, published).loss.value().item(), mean(times(a) * L / (L + 1e-5)).item(), 1e-11));
    TransitionModelConfig plain = config;
    plain.tangent_weight = false;
    CHECK(near(transition_model(small.net(), p, w, plain).loss.value().item(), mean(L).item(), 1e-11));
  }
}

TEST_CASE("with w = eps - z0 and without its weight, TiM is MeanFlow; rows with s = t are flow matching") {
  const SmallNet small;
  const PathBatch p = points(16);
  REQUIRE(p.off_diagonal > 0);
  REQUIRE(p.off_diagonal < 16);
  for (const std::string kind : {"jvp", "central"}) {
    TransitionModelConfig config;
    config.tangent_weight = false, config.derivative.kind = kind;
    const auto here = gradient(small, [&] { return transition_model(small.net(), p, one_point(), config).loss; });
    CHECK(max_difference(here, gradient(small, [&] { return mean_flow(small.net(), p, one_point(), {.derivative = {kind}}).loss; })) == 0);
  }
  const PathBatch diagonal = points(8, 1);
  TransitionModelConfig config;
  const Tensor v = evaluate(small.net(), diagonal.z, diagonal.t, diagonal.t, diagonal.y);
  CHECK(near(transition_model(small.net(), diagonal, one_point(), config).loss.value().item(), mean(square(v - one_point()(diagonal))).item(), 1e-13));
  std::int64_t zero = 0, off = 0;
  const PathBatch drawn = config.draw(gaussian_batch(2000), {}, {}).p;
  for (const double s : drawn.s.to_vector<double>()) zero += s == 0;
  off = drawn.off_diagonal;
  CHECK(near(static_cast<double>(off), 1000, 0.06));
  CHECK(near(static_cast<double>(zero), 200, 0.2));
}

TEST_CASE("TiM with an exact derivative is unbiased, also for a noiseless w, where single rows have a residual") {
  const GaussianFlow g = gaussian();
  const PathBatch p = skewed(g, points(8, 0));
  TransitionModelConfig config;
  config.derivative.kind = "jvp";
  const auto at_minimum = [&](const TransitionModelConfig& c, const VelocitySource& w) {
    return gradient_at(g, [&](const FlowMapNet& net) { return transition_model(net, p, w, c).loss; });
  };
  CHECK(near_zero(at_minimum(config, one_point()), 1e-12));
  CHECK(near_zero(at_minimum(config, teacher(g.v())), 1e-12));
  CHECK(transition_model(g.u(), p, teacher(g.v()), config).metrics.at("raw_mse").value() > 1e-4);
  CHECK(config.claims().unbiased);
  CHECK_FALSE(config.claims().exact);
  TransitionModelConfig differences;                           // their bias is of second order in delta
  const double coarse = [&] { differences.derivative.delta = 0.02; return at_minimum(differences, one_point()); }();
  const double fine = [&] { differences.derivative.delta = 0.01; return at_minimum(differences, one_point()); }();
  CHECK(near(coarse / fine, 4, 0.05));
  CHECK_FALSE(differences.claims().unbiased);
  config.metric = {"adaptive", "mean", 1e-5, 1};
  CHECK(std::abs(at_minimum(config, one_point())) > 1e-3);
  CHECK_FALSE(config.claims().unbiased);
  CHECK(TransitionModelConfig{}.needs().evaluations() == 4);   // 3 for the step, and 2 for the sides of a difference on half of the rows
}
