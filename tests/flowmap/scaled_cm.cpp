// sCM: the form in u against TrigFlow's own expressions, its gradient, its schedule and settings, and its minimum.
#include "flowmap/objective/scaled_cm.h"

#include <algorithm>
#include <cmath>

#include "autodiff/jvp.h"
#include "flowmap/objective/continuous_cm.h"
#include "tensor/error.h"
#include "tests/flowmap/skewed.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// Settings with r = 1 from the first step on and without dropped labels.
ScaledCmConfig full(double c = 1) {
  ScaledCmConfig config;
  config.data_deviation = c, config.warmup = 1, config.labels = {0, 4};
  return config;
}

PathBatch points(std::int64_t rows) { return draw_jumps_to_data(gaussian_batch(rows), {}, {0, 4}); }

ObjectiveLoss loss_at(const FlowMapNet& net, const PathBatch& p, const ScaledCmConfig& config, const TrainingStep& now = {},
                      const VelocitySource& w = one_point()) {
  return scaled_cm(net, config.complete(p, now), w, config);
}

// TrigFlow's network, times c:  c F(x, tau) = m u(z, 0, t) + ((c^2 (1-t) - t)/m) z  at  t = c tan(tau) / (1 + c tan(tau)),  z = m x / c.
struct TrigFlow {
  FlowMapNet u;
  double c;
  Labels y;

  Var time(const Var& tau) const { return c * sin(tau) / (cos(tau) + c * sin(tau)); }
  Var m(const Var& t) const { return sqrt(c * c * square(1.0 - t) + square(t)); }
  Var operator()(const Var& x, const Var& tau) const {
    const Var t = time(tau), scale = m(t), z = column(scale / c, 2) * x;
    return column(scale, 2) * u(z, t * 0.0, t, y) + column((c * c * (1.0 - t) - t) / scale, 2) * z;
  }
};

// Lu and Song's tangent, with r before the part that needs a derivative. `a` has two forms, Lu and Song's and rCM's:
//   g = -a (c F - dx/dtau) - r cos sin (x + c dF/dtau),      a = cos^2, or cos sqrt(1 - r^2 sin^2)
Tensor trigflow_tangent(const TrigFlow& F, const Tensor& x, const Tensor& tau, const Tensor& dx, double r, bool rcm) {
  const auto [value, derivative] = jvp([&](const Var& a, const Var& b) { return F(a, b); }, at(x, tau), along(dx, Tensor::ones(tau.shape(), DType::f64)));
  const Tensor first = rcm ? cos(tau) * sqrt(1.0 - r * r * square(sin(tau))) : square(cos(tau)), second = r * cos(tau) * sin(tau);
  return column(first, 2) * (dx - value.value()) - column(second, 2) * (x + derivative);
}

}  // namespace

TEST_CASE("the tangent is TrigFlow's, for every r, data deviation and warm-up") {
  const SmallNet small;
  const PathBatch p = points(16);
  for (const double c : {1.0, 0.5})
    for (const double r : {0.0, 0.3, 1.0})
      for (const bool rcm : {false, true}) {
        CAPTURE(c);
        CAPTURE(r);
        CAPTURE(rcm);
        ScaledCmConfig config = full(c);
        config.rcm_warmup = rcm;
        // Data z0 of deviation c and noise c eps: tan(tau) = sigma / c, sigma = t / (1 - t).
        const TrigFlow F{small.net(), c, p.y};
        std::vector<double> angles;
        for (const double t : p.t.to_vector<double>()) angles.push_back(std::atan2(t, c * (1 - t)));
        const Tensor tau = times(angles);
        CHECK(max_difference(F.time(tau).value(), p.t) < 1e-15);
        const Tensor x = column(cos(tau), 2) * p.z0 + column(sin(tau), 2) * (c * p.eps), dx = column(cos(tau), 2) * (c * p.eps) - column(sin(tau), 2) * p.z0;
        const Tensor m = F.m(p.t).value();
        CHECK(max_difference(x, column(c / 1.0 * Tensor::ones(m.shape(), DType::f64) / m, 2) * p.z) < 1e-14);         // x_tau = c z_t / m
        const Tensor wanted = trigflow_tangent(F, x, tau, dx, r, rcm);

        const auto [u, dudt] = differentiate(small.net(), {p.z, p.s, p.t, p.y, {}, {}}, one_point()(p), {});
        const Tensor g = scaled_cm_tangent(p.t, Tensor::full({16}, r, DType::f64), one_point()(p), u.value(), dudt, config);
        CHECK(max_difference(g, wanted) < 1e-14);
        CHECK(max_difference(g * 1.001, wanted) > 1e-5);
      }
}

TEST_CASE("the gradient is that of TrigFlow's loss | F - sg F - g |^2 / sigma, with the learned weight of t") {
  const SmallNet small;
  const PathBatch p = points(8);
  const double c = 0.5;
  ScaledCmConfig config = full(c);
  config.warmup = 0.4;
  const TrigFlow F{small.net(), c, p.y};
  std::vector<double> angles;
  for (const double t : p.t.to_vector<double>()) angles.push_back(std::atan2(t, c * (1 - t)));
  const Tensor tau = times(angles), x = column(cos(tau), 2) * p.z0 + column(sin(tau), 2) * (c * p.eps);
  const Tensor dx = column(cos(tau), 2) * (c * p.eps) - column(sin(tau), 2) * p.z0, sigma = p.t / (1.0 - p.t);
  for (const bool normalise : {false, true}) {
    config.normalise = normalise ? 0.1 : 0;
    const auto by_trigflow = gradient(small, [&] {
      Tensor g;
      {
        const PauseTape pause;
        g = trigflow_tangent(F, x, tau, dx, 0.4, false);
      }
      if (normalise) g = g / column(sqrt(row_sums(square(g))) + 0.1, 2);
      const Var now = F(x, tau) / c;
      return mean(row_sums(square(now - now.value() - g)) / 5.0 / sigma);
    });
    const auto here = gradient(small, [&] { return loss_at(small.net(), p, config).loss; });
    double largest = 0;
    for (const double value : by_trigflow) largest = std::max(largest, std::abs(value));
    CHECK(largest > 1e-2);
    CHECK(max_difference(here, by_trigflow) < 1e-13 * largest);
  }
  // FastGen's form: g is normalized by its root mean square, and the loss is divided by the number of elements once more.
  config.normalise = 0.1;
  const Tensor g = [&] {
    const PauseTape pause;
    return trigflow_tangent(F, x, tau, dx, 0.4, false);
  }();
  config.norm = "rms";
  const Tensor limited = g / column(sqrt(row_sums(square(g)) / 5.0) + 0.1, 2);
  CHECK(near(loss_at(small.net(), p, config).loss.value().item(), mean(row_sums(square(limited)) / 25.0 / sigma).item(), 1e-13));
  config.norm = "row", config.sigma_weight = false;
  const Tensor by_row = g / column(sqrt(row_sums(square(g))) + 0.1, 2);
  const ObjectiveLoss out = loss_at(small.net(), p, config);
  CHECK(near(out.loss.value().item(), mean(row_sums(square(by_row)) / 5.0).item(), 1e-13));
  CHECK(near(out.metrics.at("raw_mse").value(), mean(square(g)).item(), 1e-13));                 // of g before normalization
  // With a learned log variance.
  config.row_weight = true;
  const LogVariance l = [](const Tensor& s, const Tensor& t) { return Var(0.3 + t - s); };
  const ObjectiveLoss weighed = scaled_cm(small.net(), config.complete(p, {}), one_point(), config, l);
  CHECK(near(weighed.loss.value().item(), mean(exp(-(0.3 + p.t)) * row_sums(square(by_row)) / 5.0 + 0.3 + p.t).item(), 1e-13));
  CHECK(near(weighed.metrics.at("log_variance").value(), mean(0.3 + p.t).item(), 1e-14));
  CHECK(near(weighed.metrics.at("raw_mse").value(), mean(square(g)).item(), 1e-13));
  CHECK(loss_at(small.net(), p, full()).metrics.count("log_variance") == 0);
}

TEST_CASE("at r = 1, it is continuous consistency with another weight of each row; at r = 0, it is not flow matching") {
  const SmallNet small;
  const PathBatch p = points(1);
  const double t = p.t.item();
  for (const double c : {1.0, 0.5}) {
    const auto here = gradient(small, [&] { return loss_at(small.net(), p, full(c)).loss; });
    auto cm = gradient(small, [&] { return continuous_cm(small.net(), p, one_point(), {}).loss; });
    const double m2 = c * c * (1 - t) * (1 - t) + t * t;
    for (double& x : cm) x *= 2 * (1 - t) * (1 - t) * m2 / (c * t * t);
    CHECK(max_difference(here, cm) < 1e-13 * std::max(1.0, std::abs(*std::max_element(cm.begin(), cm.end()))));
  }
}

TEST_CASE("the true map has no residual once r has reached 1, if w is its velocity; before, it has one") {
  const GaussianFlow g = gaussian();
  const PathBatch p = points(32);
  const auto raw = [&](const FlowMapNet& u, const ScaledCmConfig& config) {
    return loss_at(u, p, config, {}, teacher(g.v())).metrics.at("raw_mse").value();
  };
  for (const double c : {1.0, 0.5}) CHECK(raw(g.u(), full(c)) < 1e-28);
  CHECK(raw([u = g.u()](const Var& z, const Var& s, const Var& t, const Labels& y) { return 1.01 * u(z, s, t, y); }, full()) > 1e-6);
  ScaledCmConfig half = full();
  half.warmup = 0.5;
  CHECK(raw(g.u(), half) > 1e-3);
  CHECK(full().claims().exact);
  CHECK_FALSE(half.claims().exact);
  CHECK(ScaledCmConfig{}.claims().exact);                      // at the end of its schedule
}

TEST_CASE("the objective is unbiased, except with a normalized tangent") {
  const GaussianFlow g = gaussian();
  const PathBatch p = skewed(g, points(8));
  const auto at_minimum = [&](const ScaledCmConfig& config, const LogVariance& l = {}) {
    return gradient_at(g, [&](const FlowMapNet& net) { return scaled_cm(net, config.complete(p, {}), one_point(), config, l).loss; });
  };
  ScaledCmConfig config = full(0.5);
  CHECK(near_zero(at_minimum(config), 1e-11));
  CHECK(config.claims().unbiased);
  config.row_weight = true;
  CHECK(near_zero(at_minimum(config, [](const Tensor& s, const Tensor& t) { return Var(t - s); }), 1e-11));
  CHECK(config.claims().unbiased);
  config.row_weight = false, config.normalise = 0.1;
  CHECK(std::abs(at_minimum(config)) > 1e-3);
  CHECK_FALSE(config.claims().unbiased);
  CHECK(config.claims().exact);
  config.normalise = 0, config.derivative.kind = "central";
  CHECK_FALSE(config.claims().exact);
  CHECK_FALSE(config.claims().unbiased);
}

TEST_CASE("r follows the training step, as a number for each row that a recorded step can overwrite") {
  const SmallNet small;
  SctConfig config;
  config.labels = {0, 4};
  config.warmup = ScaledCmConfig::until(0.2);
  const Objective o = make_objective(config);
  const Nets nets{.net = small.net()};
  const auto r_at = [&](std::int64_t step, std::int64_t total) { return o.draw(gaussian_batch(4), nets, {step, total})["warmup"].to_vector<double>(); };
  CHECK(r_at(0, 1000) == std::vector<double>{0, 0, 0, 0});
  CHECK(near(r_at(50, 1000)[3], 0.25, 1e-15));
  CHECK(r_at(200, 1000)[0] == 1);
  CHECK(r_at(999, 1000)[0] == 1);
  config.warmup = ScaledCmConfig::until(10000);
  CHECK(near(config.complete(points(4), {2500, 100000})["warmup"].to_vector<double>()[0], 0.25, 1e-15));
  Drawn early = o.draw(gaussian_batch(8), nets, {10, 1000}), late = o.draw(gaussian_batch(8), nets, {150, 1000});
  const double wanted = o.loss(nets, late).loss.value().item(), before = o.loss(nets, early).loss.value().item();
  CHECK(before != wanted);
  REQUIRE(early.form() == late.form());
  early.numbers[0].second.copy_from(late["warmup"]);
  CHECK(o.loss(nets, early).loss.value().item() == wanted);
  ScaledCmConfig fixed = full();
  fixed.warmup = r_at(150, 1000)[0];
  CHECK(loss_at(small.net(), late.p, fixed).loss.value().item() == wanted);

  config.warmup = Ramp("linear", 0, 1.5);
  CHECK(has(error_of<ConfigError>([&] { make_objective(config, "map.objective.sct").check(100); }), "map.objective.sct.warmup.to = 1.5: it must be between 0 and 1"));
}

TEST_CASE("every row has s = 0 and a log-normal sigma; scd uses the teacher's velocity, sct the velocity source") {
  const Batch batch = gaussian_batch(2000);
  const PathBatch p = draw_jumps_to_data(batch, ScaledCmConfig{}.time, {0, 4});
  CHECK(p.off_diagonal == 2000);
  CHECK(max(p.s, 0).item() == 0);
  std::vector<double> log_sigma;
  for (const double t : p.t.to_vector<double>()) log_sigma.push_back(std::log(t / (1 - t)));
  double mean = 0, square = 0;
  for (const double x : log_sigma) mean += x / 2000, square += x * x / 2000;
  CHECK(near_within(mean, -1 + std::log(2), 0.1));             // -1 for data of deviation 0.5
  CHECK(near(std::sqrt(square - mean * mean), 1.4, 0.05));
  CHECK(p.draws.samples == batch.draws.samples);
  const GaussianFlow g = gaussian();
  const SmallNet small;
  SctConfig sct;
  ScdConfig scd;
  const Nets nets{.net = small.net(), .teacher = g.v(), .velocity = one_point()};
  const Drawn drawn = sct.complete(points(8), {1, 1});
  CHECK(sct.loss(nets, drawn).loss.value().item() == loss_at(small.net(), points(8), sct, {1, 1}).loss.value().item());
  CHECK(scd.loss(nets, drawn).loss.value().item() == loss_at(small.net(), points(8), scd, {1, 1}, teacher(g.v())).loss.value().item());
  CHECK((!sct.needs().teacher && sct.needs().velocity && sct.needs().jumps == Jumps::to_data && !sct.needs().row_weight));
  CHECK((scd.needs().teacher && !scd.needs().velocity && scd.needs().jumps == Jumps::to_data));
  CHECK(sct.needs().evaluations() == 4);
  CHECK(scd.needs().evaluations() == 5);
  scd.row_weight = true;
  CHECK(scd.needs().row_weight);
}
