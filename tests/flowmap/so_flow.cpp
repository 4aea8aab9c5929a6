// SoFlow: alpha-Flow's residual under its own times, schedule and weight.
#include "flowmap/objective/so_flow.h"

#include <algorithm>
#include <cmath>

#include "flowmap/certify.h"
#include "flowmap/objective/alpha_flow.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

SoFlowConfig config(double alpha, double diagonal = 0.5) {
  SoFlowConfig c;
  c.alpha = alpha, c.pairs.diagonal_share = diagonal, c.labels = {0, 4};
  return c;
}

// With s so low that no step is clamped to the shortest one.
SoFlowConfig long_jumps(double alpha) {
  SoFlowConfig c = config(alpha);
  c.end_time.mean = -6;
  return c;
}

double logit(double t) { return std::log(t / (1 - t)); }

// Mean and deviation.
std::pair<double, double> moments(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (double v : x) sum += v, squares += v * v;
  const double n = static_cast<double>(x.size()), mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean)};
}

}  // namespace

TEST_CASE("with l2, the loss and its gradient are alpha-Flow's without a clamp") {
  const SmallNet small;
  const SoFlowConfig so = long_jumps(0.25);
  const Nets nets{.net = small.net()};
  const Drawn d = so.draw(gaussian_batch(24), nets, {});
  REQUIRE(d.p.off_diagonal > 0);
  REQUIRE(d.p.off_diagonal < 24);
  const AlphaFlowConfig alpha{.alpha = 0.25, .clamp = 0};
  const auto mine = gradient(small, [&] { return so.loss(nets, d).loss; });
  const auto wanted = gradient(small, [&] { return alpha_flow(small.net(), d.p, one_point(), alpha).loss; });
  CHECK(max_difference(mine, wanted) < 1e-13);
  CHECK(near(so.loss(nets, d).loss.value().item(), alpha_flow(small.net(), d.p, one_point(), alpha).loss.value().item(), 1e-13));
  CHECK(max_difference(so.loss(nets, d).raw, alpha_flow(small.net(), d.p, one_point(), alpha).raw) < 1e-13);
}

TEST_CASE("the published weight is S/a (S/a^2 + c)^-p, and S (S + c)^-p where s = t") {
  const SmallNet small;
  SoFlowConfig so = long_jumps(0.25);
  CHECK(SoFlowConfig::published().metric.reduction == "mean");
  so.metric = SoFlowConfig::published().metric;
  so.metric.p = 0.5;
  const Nets nets{.net = small.net()};
  const Drawn d = so.draw(gaussian_batch(24), nets, {});
  const ObjectiveLoss out = so.loss(nets, d);
  const auto S = out.raw.to_vector<double>();
  double wanted = 0;
  for (std::size_t i = 0; i < S.size(); ++i) {
    const double a = static_cast<std::int64_t>(i) < d.p.off_diagonal ? 0.25 : 1;
    wanted += S[i] / a / std::sqrt(S[i] / (a * a) + 0.01) / 24;
  }
  CHECK(near(out.loss.value().item(), wanted, 1e-13));
}

// The expected numbers come from an independent computation and have two digits.
TEST_CASE("with one-point velocities, the bias of the minimum is of first order in alpha") {
  for (const auto& printed : {std::pair{0.25, 0.12}, {0.025, 0.012}}) {
    const std::vector<Bias> found = bias_on_gaussian(make_objective(config(printed.first)));
    CHECK(near(largest(found), printed.second, 0.04));
  }
}

TEST_CASE("t and s have separate distributions, and s is cut below t") {
  SoFlowConfig so = config(0.1, 0.75);
  so.pairs.time.upper = so.end_time.upper = so.diagonal_time.upper = 1;
  const Drawn d = so.draw(gaussian_batch(40000), {}, {});
  const auto t = d.p.t.to_vector<double>(), s = d.p.s.to_vector<double>();
  const auto k = static_cast<std::size_t>(d.p.off_diagonal);
  CHECK(std::abs(static_cast<double>(k) / 40000 - 0.25) < 0.01);
  std::vector<double> of_jumps, of_diagonal, ends;
  std::size_t cut = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    (i < k ? of_jumps : of_diagonal).push_back(logit(t[i]));
    if (i >= k) REQUIRE(s[i] == t[i]);
    if (i >= k) continue;
    REQUIRE(t[i] - s[i] >= 1e-4 * (1 - 1e-9));
    if (t[i] - s[i] < 1.0001e-4) ++cut;                     // s was drawn above t and is clamped
    else ends.push_back(logit(s[i]));
  }
  const auto jumps = moments(of_jumps), diagonal = moments(of_diagonal);
  CHECK(std::abs(jumps.first - 0.2) < 0.03);                // the mean of 10,000 rows has a deviation of .008
  CHECK(std::abs(jumps.second - 0.8) < 0.03);
  CHECK(std::abs(diagonal.first + 0.2) < 0.03);
  CHECK(std::abs(diagonal.second - 1) < 0.03);
  // P(s' > t) of two normal logits, means 1.2 apart, each of deviation .8
  const double crossing = 0.5 * std::erfc(1.2 / (0.8 * std::sqrt(2.0)) / std::sqrt(2.0));
  CHECK(std::abs(static_cast<double>(cut) / static_cast<double>(k) - crossing) < 0.02);
  CHECK(moments(ends).first < -1);                          // the rows whose s is not clamped
  so.pairs.zero_share = 0.25;
  const Drawn zeros = so.draw(gaussian_batch(4000), {}, {});
  const auto from = zeros.p.s.to_vector<double>();
  CHECK(std::abs(std::count(from.begin(), from.end(), 0.0) / 4000.0 - 0.25) < 0.03);
}

TEST_CASE("alpha falls from .1 to .002 and is 1 where s = t; no step is shorter than the smallest one") {
  SoFlowConfig so = config(1, 0.5);
  so.alpha = SoFlowConfig{}.alpha;
  const Batch batch = gaussian_batch(400);
  for (const auto& wanted : {std::pair{0, 0.1}, {50, std::sqrt(0.1 * 0.002)}, {100, 0.002}}) {
    const Drawn d = so.draw(batch, {}, {wanted.first, 100});
    const auto a = d["alpha"].to_vector<double>(), t = d.p.t.to_vector<double>(), s = d.p.s.to_vector<double>();
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (t[i] == s[i]) CHECK(a[i] == 1);
      else CHECK(near(a[i], std::min(1.0, std::max(wanted.second, 1e-4 / (t[i] - s[i]))), 1e-9));
    }
  }
  CHECK(so.draw(batch, {}, {0, 100}).form() == so.draw(batch, {}, {100, 100}).form());
}

TEST_CASE("exact_share makes every step the same work; an alpha schedule that reaches 0 is refused") {
  SoFlowConfig so;
  CHECK(has(make_objective(so, "map.objective.so_flow").not_recorded, "set map.objective.so_flow.pairs.exact_share"));
  so.pairs.exact_share = true;
  CHECK(make_objective(so).not_recorded == "");
  CHECK(so.draw(gaussian_batch(64), {}, {}).p.off_diagonal == 16);
  so.alpha = Ramp("linear", 0.1, 0);
  CHECK(has(error_of<ConfigError>([&] { make_objective(so, "map.objective.so_flow").check(10); }), "map.objective.so_flow.alpha.to = 0: it must be between"));
  so.pairs.null_rows_diagonal = true, so.pairs.exact_share = false, so.labels = {1, 4};
  CHECK(so.draw(gaussian_batch(16), {}, {}).p.off_diagonal == 0);
}
