// Objectives about the end of a jump: LMD, ESD, TVM. Their formulas by differences, the gradient paths, the distributions of times.
#include <cmath>
#include <string>

#include "autodiff/jvp.h"
#include "flowmap/objective/esd.h"
#include "flowmap/objective/improved_mean_flow.h"
#include "flowmap/objective/lmd.h"
#include "flowmap/objective/tvm.h"
#include "tests/flowmap/differences.h"
#include "tests/flowmap/support.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double none = 1e-24;           // a mean square of rounding errors in f64

PathBatch points(std::int64_t rows, double diagonal = 0.5) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, {0, 4}); }

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }

// df/dx at x = 0 for a tensor-valued f, by a difference of fourth order.
Tensor slope(const std::function<Tensor(double)>& f, double h = 1e-3) { return ((f(h) - f(-h)) * 8.0 - (f(2 * h) - f(-2 * h))) / (12 * h); }

// A velocity that does not depend on z. The stop-gradient of v(f, s) then changes nothing, so differences can check the gradient of the loss.
FlowMapNet without_z() {
  return [](const Var& z, const Var& s, const Var&, const Labels&) { return Tensor::ones(z.shape(), z.dtype()) * column(sin(3.0 * s.value()), 2); };
}

Nets gaussian_nets(const FlowMapNet& u) {
  const GaussianFlow g = gaussian();
  return {.net = u, .target = g.u(), .teacher = g.v(), .velocity = teacher(g.v()), .shape = {dim}, .dtype = DType::f64};
}

// A wrong map: it is right for s = t and takes this velocity as the average for every s.
FlowMapNet wrong_map() {
  return [u = gaussian().u()](const Var& z, const Var&, const Var& t, const Labels& y) { return u(z, t, t, y); };
}

std::vector<std::string> keys_of(auto config) {
  std::vector<std::string> keys;
  config.visit([&](std::string_view name, auto&&...) { keys.emplace_back(name); });
  return keys;
}

double logit(double x) { return std::log(x / (1 - x)); }
double below_in_normal(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

struct Moments {
  double mean, deviation;
};
Moments moments(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (const double v : x) sum += v, squares += v * v;
  const double n = static_cast<double>(x.size()), m = sum / n;
  return {m, std::sqrt(squares / n - m * m)};
}

}  // namespace

TEST_CASE("LMD is LSD's semi-gradient form with the teacher's velocity; no setting can change that") {
  const SmallNet small, other(DType::f64, 6);
  const VelocityNet v = diagonal(other.net());
  const Nets nets{.net = small.net(), .teacher = v};
  const PathBatch p = points(12);
  const LmdConfig config;
  const LsdConfig same{.through_derivative = false, .end_velocity = "teacher"};
  const auto of = [&](const auto& entry) { return gradient(small, [&] { return entry.loss(nets, {p, {}}).loss; }); };
  CHECK(of(config) == of(same));
  CHECK(max_difference(of(config), of(LsdConfig{.end_velocity = "teacher"})) > 1e-3);
  CHECK(max_difference(of(config), of(LsdConfig{.through_derivative = false})) > 1e-3);
  CHECK(config.needs().teacher);
  CHECK(near(config.needs().evaluations(), 3 + 0.25 * 2, 1e-15));
  CHECK(keys_of(config) == std::vector<std::string>{"pairs", "labels", "metric"});

  const std::int64_t k = p.off_diagonal;
  const Tensor gap = p.t - p.s, u = evaluate(small.net(), p.z, p.s, p.t, p.y);
  const Tensor duds = slope([&](double h) { return evaluate(small.net(), p.z, p.s + h, p.t, p.y); });
  const Tensor end = evaluate(v, moved(p.z, gap, u), p.s, p.y) + column(gap, 2) * duds;
  const Tensor residual = with_first_rows(u - one_point()(p), first_rows(u - end, k));
  CHECK(near(config.loss(nets, {p, {}}).loss.value().item(), mean(square(residual)).item(), 1e-9));
  CHECK(raw(LmdConfig{}.loss(gaussian_nets(gaussian().u()), {points(64), {}})) < none);
}

TEST_CASE("ESD is the mean square of u + (t-s) du/dt - b along b, which is the network's own velocity or the source's") {
  const SmallNet small;
  const PathBatch p = points(12);
  const std::int64_t k = p.off_diagonal;
  REQUIRE(k > 0);
  REQUIRE(k < 12);
  const Tensor own = evaluate(diagonal(small.net()), p.z, p.t, p.y), w = one_point()(p);
  for (const bool is_own : {true, false}) {
    const Tensor b = is_own ? own : w;
    const Tensor dudt = slope([&](double h) { return evaluate(small.net(), p.z + h * b, p.s, p.t + h, p.y); });
    const Tensor u = evaluate(small.net(), p.z, p.s, p.t, p.y);
    const Tensor residual = with_first_rows(u - w, first_rows(u + column(p.t - p.s, 2) * dudt - b, k));
    for (const bool through_space : {true, false}) {
      const ObjectiveLoss out = esd(small.net(), p, one_point(), {.velocity = is_own ? "own" : "source", .through_space = through_space});
      CHECK(near(out.loss.value().item(), mean(square(residual)).item(), 1e-9));
      CHECK(out.derivative_ratio.dim(0) == k);
    }
  }
  for (const bool through_space : {true, false}) {
    CHECK(raw(loss_on(EsdConfig{.through_space = through_space}, gaussian_nets(gaussian().u()), gaussian_batch(64))) < none);
    CHECK(raw(loss_on(EsdConfig{.through_space = through_space}, gaussian_nets(wrong_map()), gaussian_batch(64))) > 1e-4);
  }
}

TEST_CASE("ESD's gradient passes through the derivative, but not through the velocity b") {
  const SmallNet small;
  const PathBatch p = points(8, 0.3), off = points(8, 0);
  // b = w is a constant, so the stop-gradient of b changes nothing and differences can check the gradient.
  const GradientError error = gradient_error(parameters(small), [&] { return esd(small.net(), p, one_point(), {.velocity = "source"}).loss; });
  CHECK(error.largest > 1e-2);
  CHECK(error.worst < 1e-9);
  // With the network's own velocity as b, ESD is improved MeanFlow with this velocity as w.
  const auto own = gradient(small, [&] { return esd(small.net(), off, one_point(), {}).loss; });
  const auto imf = gradient(small, [&] { return improved_mean_flow(small.net(), off, teacher(diagonal(small.net())), {.through_derivative = true}).loss; });
  CHECK(max_difference(own, imf) < 1e-14);
}

TEST_CASE("ESD without the gradient through space: (du/dz) b is a constant, the part of du/dt from t is not") {
  const SmallNet small;
  const PathBatch p = points(8, 0);
  const FlowMapNet u = small.net();
  const Tensor b = evaluate(diagonal(u), p.z, p.t, p.y);
  const Tensor in_space = slope([&](double h) { return evaluate(u, p.z + h * b, p.s, p.t, p.y); });
  const auto by_hand = [&] {
    const auto later = [&](double h) { return u(p.z, p.s, p.t + h, p.y); };
    const double h = 1e-3;
    const Var in_time = ((later(h) - later(-h)) * 8.0 - (later(2 * h) - later(-2 * h))) / (12 * h);
    return mean(square(later(0) + column(p.t - p.s, 2) * (in_time + in_space) - b));
  };
  const auto full = gradient(small, [&] { return esd(u, p, one_point(), {.through_space = false}).loss; });
  CHECK(max_difference(full, gradient(small, by_hand)) < 1e-9);
  CHECK(max_difference(full, gradient(small, [&] { return esd(u, p, one_point(), {}).loss; })) > 1e-3);
}

TEST_CASE("ESD along a noisy velocity is declared biased; each setting has its declared cost") {
  CHECK(EsdConfig{}.claims().unbiased);
  CHECK_FALSE(EsdConfig{.velocity = "source"}.claims().unbiased);
  CHECK(EsdConfig{.velocity = "source"}.claims().exact);
  CHECK_FALSE(EsdConfig{.metric = {"adaptive"}}.claims().unbiased);
  CHECK(near(EsdConfig{}.needs().evaluations(), 3 + 0.25 * 4, 1e-15));
  CHECK(near(EsdConfig{.velocity = "source"}.needs().evaluations(), 3 + 0.25 * 3, 1e-15));
  CHECK(near(EsdConfig{.through_space = false}.needs().evaluations(), 3 + 0.25 * 6, 1e-15));
}

TEST_CASE("TVM sums two terms on every row: d_s f against the target's velocity, and flow matching at a second time") {
  const SmallNet small, other(DType::f64, 6);
  const TvmConfig config{.labels = {0, 4}};
  const Drawn drawn = config.draw(gaussian_batch(12), {}, {});
  const PathBatch& p = drawn.p;
  const Tensor second = drawn["second_time"], gap = p.t - p.s;
  CHECK(p.off_diagonal == 12);
  const auto f = [&](double h) { return moved(p.z, gap - h, evaluate(small.net(), p.z, p.s + h, p.t, p.y)); };
  const Tensor terminal = slope(f) - evaluate(diagonal(other.net()), f(0), p.s, p.y);
  const Tensor z = interpolate(p.z0, p.eps, second), matching = evaluate(diagonal(small.net()), z, second, p.y) - (p.eps - p.z0);
  const ObjectiveLoss out = config.loss({.net = small.net(), .target = other.net()}, drawn);
  CHECK(near(out.loss.value().item(), mean(square(terminal)).item() + mean(square(matching)).item(), 1e-9));
  CHECK(near(out.metrics.at("residual_terminal").value(), mean(square(terminal)).item(), 1e-9));
  CHECK(near(out.metrics.at("residual_flow_matching").value(), mean(square(matching)).item(), 1e-13));
  CHECK(near(out.raw.select(0, 3).item(), mean(square(terminal.select(0, 3))).item() + mean(square(matching.select(0, 3))).item(), 1e-9));
  CHECK(out.metrics.contains("raw_mse_diagonal") == false);
  // The velocity source is evaluated at the second points.
  const VelocitySource v = teacher(diagonal(other.net()));
  const double taught = config.loss({.net = small.net(), .target = other.net(), .velocity = v}, drawn).metrics.at("residual_flow_matching").value();
  CHECK(near(taught, mean(square(evaluate(diagonal(small.net()), z, second, p.y) - evaluate(diagonal(other.net()), z, second, p.y))).item(), 1e-13));
}

TEST_CASE("TVM has no residual on the closed-form map, and has one on a wrong map") {
  const Batch batch = gaussian_batch(64);
  CHECK(raw(loss_on(TvmConfig{}, gaussian_nets(gaussian().u()), batch)) < none);
  CHECK(raw(loss_on(TvmConfig{}, gaussian_nets(wrong_map()), batch)) > 1e-4);
  Nets bad_target = gaussian_nets(gaussian().u());
  bad_target.target = [u = gaussian().u()](const Var& z, const Var& s, const Var& t, const Labels& y) { return u(z, s, t, y) * 1.01; };
  CHECK(raw(loss_on(TvmConfig{}, bad_target, batch)) > 1e-6);
}

TEST_CASE("TVM: rows with s = t add 0 to the first term but count in its mean; the second term includes them") {
  const SmallNet small;
  const PathBatch p = points(12);
  const std::int64_t k = p.off_diagonal;
  REQUIRE(k < 12);
  const Drawn drawn = TvmConfig{}.complete(p, {});
  const ObjectiveLoss all = tvm(small.net(), p, drawn["second_time"], one_point(), {});
  const double terminal = all.metrics.at("residual_terminal").value(), matching = all.metrics.at("residual_flow_matching").value();
  CHECK(near(all.loss.value().item(), terminal * static_cast<double>(k) / 12 + matching, 1e-14));
  CHECK(near(raw(all), all.loss.value().item(), 1e-14));
  PathBatch none_off = p;
  none_off.off_diagonal = 0;
  CHECK(near(tvm(small.net(), none_off, drawn["second_time"], one_point(), {}).loss.value().item(), matching, 1e-14));
  // Each metric says over which rows it is a mean. So two halves of a batch give the whole, even if one half has no row with s < t.
  CHECK(all.metrics.at("residual_terminal").over == Over::off_diagonal);
  CHECK(all.metrics.at("residual_flow_matching").over == Over::all);
}

TEST_CASE("TVM's gradient passes through d_s f, but not through the velocity that d_s f is compared with") {
  const SmallNet small;
  const Drawn drawn = TvmConfig{.labels = {0, 4}}.draw(gaussian_batch(8), {}, {});
  const auto loss = [&](const FlowMapNet& target) { return tvm(small.net(), drawn.p, drawn["second_time"], one_point(), {}, target).loss; };
  const GradientError error = gradient_error(parameters(small), [&] { return loss(without_z()); });
  CHECK(error.largest > 1e-2);
  CHECK(error.worst < 1e-9);
  // Without a target network the network itself makes the target, like a frozen copy of it.
  SmallNet copy;
  for (Parameter* p : {&copy.w1, &copy.b1, &copy.w2, &copy.b2, &copy.w3, &copy.table}) p->trainable = false;
  CHECK(max_difference(gradient(small, [&] { return loss({}); }), gradient(small, [&] { return loss(copy.net()); })) < 1e-15);
}

TEST_CASE("TVM samples the gap first, then s below 1 - gap, and a second time; the shift is applied last") {
  constexpr std::int64_t n = 4000;
  TvmConfig config;
  const Drawn drawn = config.draw(gaussian_batch(n), {}, {});
  const auto s = drawn.p.s.to_vector<double>(), t = drawn.p.t.to_vector<double>(), second = drawn["second_time"].to_vector<double>();
  std::vector<double> gaps, place, seconds;
  double product = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double gap = t[i] - s[i];
    CHECK((s[i] > 0 && gap > 0 && t[i] < 0.999));
    gaps.push_back(logit(gap));
    place.push_back(below_in_normal(logit(s[i]) + 0.4) / below_in_normal(logit(0.999 - gap) + 0.4));      // uniform if s follows the truncated distribution
    seconds.push_back(logit(second[i]));
    product += (place.back() - 0.5) * (below_in_normal(seconds.back() + 0.4) - 0.5);
  }
  const Moments of_gaps = moments(gaps), of_place = moments(place), of_seconds = moments(seconds);
  CHECK(near_within(of_gaps.mean, -0.8, 0.05));
  CHECK(near_within(of_gaps.deviation, 1, 0.05));
  CHECK(near_within(of_place.mean, 0.5, 0.015));
  CHECK(near_within(of_place.deviation, std::sqrt(1.0 / 12), 0.015));
  CHECK(near_within(of_seconds.mean, -0.4, 0.05));
  CHECK(near_within(of_seconds.deviation, 1, 0.05));
  CHECK(std::abs(product / n) < 0.005);                              // s and s' are independent

  config.time.shift = 3, config.second_time.shift = 2;
  const Drawn shifted = config.draw(gaussian_batch(8), {}, {});
  for (std::int64_t i = 0; i < 8; ++i) {
    const auto row = static_cast<std::size_t>(i);
    CHECK(near(shifted.p.s.select(0, i).item(), shift_time(s[row], 3), 1e-13));
    CHECK(near(shifted.p.t.select(0, i).item(), shift_time(t[row], 3), 1e-13));
    CHECK(near(shifted["second_time"].select(0, i).item(), shift_time(second[row], 2), 1e-13));
  }
}

TEST_CASE("TVM declares its needs, and its settings change the sampled times") {
  CHECK(TvmConfig{}.needs().target_decay == 0.99);
  CHECK(TvmConfig{.target_decay = 0}.needs().target_decay == -1);
  CHECK(near(TvmConfig{}.needs().evaluations(), 6 + 3 + 1, 1e-15));
  CHECK(TvmConfig{}.not_recorded("map.objective.tvm").empty());
  const auto gap = [](const TvmConfig& config) {
    const Drawn drawn = config.draw(gaussian_batch(64), {}, {});
    return mean(drawn.p.t - drawn.p.s).item();
  };
  CHECK(gap({.gap_mean = -3}) < 0.5 * gap({}));
  CHECK(gap({.gap_mean = -3, .gap_deviation = 0.1}) > 0.04);
  const Drawn narrow_times = TvmConfig{.time = {"uniform", 0, 1, 0.5}}.draw(gaussian_batch(200), {}, {});
  CHECK(max(narrow_times.p.t, 0).item() < 0.5);
  const TvmConfig published = TvmConfig::published();
  CHECK(published.time.upper == 1);
  CHECK(published.second_time.shift == 1);
}
