// Discrete consistency: grids and neighboring times, random numbers, the loss by its formula, one step's error in closed form, and the gap of ECT stage by stage.
#include "flowmap/objective/discrete_cm.h"

#include <algorithm>
#include <cmath>

#include "flowmap/jump.h"
#include "flowmap/objective/alpha_flow.h"
#include "flowmap/objective/ect.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

const LabelDropout no_drop{0, 4};

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }

template <class Config> Config on(std::int64_t points) {
  Config c;
  c.first_points = c.last_points = points, c.labels = no_drop;
  return c;
}

std::vector<double> numbers(const Tensor& x) { return x.to_vector<double>(); }

double sigma(double t) { return t / (1 - t); }

// ECT at a constant stage, with the published slope and without dropped labels.
EctConfig ect_at_stage(double stage) {
  EctConfig c;
  c.stage = stage, c.slope = 1, c.labels = no_drop;
  return c;
}

std::vector<double> earlier_sigma(const EctConfig& config, const std::vector<double>& sigmas) {
  PathBatch p;
  p.t = time_of(times(sigmas)), p.z = Tensor::zeros({std::ssize(sigmas), 2}, DType::f64);
  return numbers(sigma_of(config.complete(p, {0, 100})["r"]));
}

}  // namespace

TEST_CASE("the grid is Karras's: evenly spaced in sigma^(1/rho), with the configured ends") {
  const std::vector<double> grid = DiscreteCmConfig{}.grid(18);
  REQUIRE(grid.size() == 18);
  CHECK(near(sigma(grid.front()), 0.004, 1e-12));
  CHECK(near(sigma(grid.back()), 160, 1e-12));
  // (x_0 + i/17 (x_17 - x_0))^7 with x = sigma^(1/7), as numpy computes it
  CHECK(near(sigma(grid[9]), 6.51364303953, 1e-9));
  CHECK(near(sigma(grid[1]), 0.015056039925568, 1e-9));
  for (std::size_t i = 1; i < grid.size(); ++i) CHECK(grid[i] > grid[i - 1]);
}

TEST_CASE("the number of grid points grows as published, scaled to the length of the training") {
  const CtConfig ct;
  CHECK(ct.points({0, 800000}) == 2);
  CHECK(ct.points({1, 800000}) == 3);                                            // the square root of a number just above 4, rounded up
  CHECK(ct.points({400000, 800000}) == 107);                                     // sqrt((4 + 151^2) / 2) = 106.8
  CHECK(ct.points({800000, 800000}) == 151);
  CHECK(ct.points({50, 100}) == ct.points({400000, 800000}));
  const IctConfig ict;
  const std::vector<std::int64_t> doubled{11, 21, 41, 81, 161, 321, 641, 1281};
  for (std::int64_t stage = 0; stage < 8; ++stage) {
    CHECK(ict.points({stage * 50000, 400000}) == doubled[static_cast<std::size_t>(stage)]);
    CHECK(ict.points({stage * 50000 + 49999, 400000}) == doubled[static_cast<std::size_t>(stage)]);
  }
  CHECK(ict.points({400000, 400000}) == 1281);
  CHECK(ict.points({4, 5}) == 161);                                              // fewer steps than stages: each step is a stage
  for (const std::int64_t step : {0, 500, 999, 1000}) CHECK(CdConfig{}.points({step, 1000}) == 18);
}

TEST_CASE("the decay of CT's target average comes closer to 1 as the grid becomes finer") {
  const CtConfig ct;
  CHECK(near(ct.target_decay_at({0, 100}), 0.9, 1e-15));
  CHECK(near(ct.target_decay_at({100, 100}), std::exp(2 * std::log(0.9) / 151), 1e-14));
  CHECK(near(make_objective(ct).target_decay({100, 100}), ct.target_decay_at({100, 100}), 1e-15));
  CHECK(make_objective(ct).needs.target_decay == 0.9);
  CHECK_FALSE(make_objective(CdConfig{}).target_decay);
  CHECK(CdConfig{}.needs().target_decay == 0.95);
  CHECK(IctConfig{}.needs().target_decay == -1);
}

TEST_CASE("times of a row are neighbors on the grid, s is 0, every interval occurs, and the weight is the configured one") {
  for (const std::string weight : {"uniform", "gap"}) {
    CtConfig config = on<CtConfig>(9);
    config.weight = weight;
    const std::vector<double> grid = config.grid(9);
    const Drawn d = config.draw(gaussian_batch(400), {}, {});
    CHECK(d.p.off_diagonal == 400);
    CHECK(max_difference(d.p.s, Tensor::zeros({400}, DType::f64)) == 0);
    CHECK(max_difference(d.p.z, interpolate(d.p.z0, d.p.eps, d.p.t)) == 0);
    const auto t = numbers(d.p.t), r = numbers(d["r"]), w = numbers(d["weight"]);
    std::vector<int> seen(9, 0);
    for (std::size_t i = 0; i < t.size(); ++i) {
      const auto k = static_cast<std::size_t>(std::find(grid.begin(), grid.end(), t[i]) - grid.begin());
      REQUIRE(k >= 1);
      REQUIRE(k < 9);
      CHECK(near(r[i], grid[k - 1], 1e-12));
      CHECK(near(w[i], weight == "gap" ? 1 / (sigma(grid[k]) - sigma(grid[k - 1])) : 1, 1e-9));
      ++seen[k];
    }
    for (std::size_t k = 1; k < 9; ++k) CHECK(seen[k] > 20);                     // each is expected 50 times
  }
}

TEST_CASE("a growing grid changes the tensor of times, but not the form of the computation") {
  const IctConfig ict;
  const Batch batch = gaussian_batch(16);
  const Drawn early = ict.draw(batch, {}, {0, 400}), late = ict.draw(batch, {}, {399, 400});
  CHECK(early.form() == late.form());
  CHECK(make_objective(ict).not_recorded == "");
  double widest = 0;
  for (std::size_t i = 0; i < 16; ++i) widest = std::max(widest, sigma(numbers(late.p.t)[i]) / sigma(numbers(late["r"])[i]));
  CHECK(widest < 1.03);
  for (std::size_t i = 0; i < 16; ++i) CHECK(sigma(numbers(early.p.t)[i]) / sigma(numbers(early["r"])[i]) > 1.9);
}

TEST_CASE("iCT samples intervals from a log-normal distribution that is truncated to the grid") {
  constexpr std::int64_t rows = 40000;
  IctConfig config = on<IctConfig>(11);
  config.mean = -1.1;
  const std::vector<double> grid = config.grid(11);
  const auto below = [&](double t) { return 0.5 * std::erfc(-(std::log(sigma(t)) - config.mean) / (config.deviation * std::sqrt(2.0))); };
  const auto t = numbers(config.draw(gaussian_batch(rows), {}, {}).p.t);
  for (std::size_t k = 1; k < 11; ++k) {
    const double share = (below(grid[k]) - below(grid[k - 1])) / (below(grid.back()) - below(grid.front()));
    const double found = static_cast<double>(std::count(t.begin(), t.end(), grid[k])) / rows;
    CHECK(std::abs(found - share) < 4 * std::sqrt(share / rows));
  }
}

TEST_CASE("the loss is the weighted square of the difference of two jumps to data; gradients pass through the first jump only") {
  const SmallNet small, other(DType::f64, 6);
  CtConfig config = on<CtConfig>(9);
  config.weight = "gap";
  Nets nets{.net = small.net(), .target = other.net()};
  const Drawn d = config.draw(gaussian_batch(12), nets, {});
  const Tensor r = d["r"], zr = interpolate(d.p.z0, d.p.eps, r);
  const auto end = [&](const SmallNet& of, const Tensor& z, const Tensor& t) { return z - column(t, 2) * evaluate(of.net(), z, d.p.s, t, d.p.y); };
  const Tensor fixed = end(other, zr, r), squares = row_sums(square(end(small, d.p.z, d.p.t) - fixed)) / static_cast<double>(dim);
  const ObjectiveLoss out = config.loss(nets, d);
  CHECK(near(out.loss.value().item(), mean(squares * d["weight"]).item(), 1e-12));
  CHECK(max_difference(out.raw, squares) < 1e-14);
  const auto by_hand = gradient(small, [&] {
    const Var f = Var(d.p.z) - column(d.p.t, 2) * small.net()(d.p.z, d.p.s, d.p.t, d.p.y);
    return mean(row_sums(square(f - fixed)) * d["weight"]) / static_cast<double>(dim);
  });
  const auto of_loss = gradient(small, [&] { return config.loss(nets, d).loss; });
  CHECK(max_difference(of_loss, by_hand) < 1e-11 * *std::max_element(by_hand.begin(), by_hand.end()));
  nets.target = {};                                                             // no target network: the network itself makes the target
  const Tensor own = row_sums(square(end(small, d.p.z, d.p.t) - end(small, zr, r))) / static_cast<double>(dim);
  CHECK(max_difference(config.loss(nets, d).raw, own) < 1e-14);
}

TEST_CASE("iCT's default Pseudo-Huber constant is .00108 sqrt(D), the published one for data of deviation 1") {
  const SmallNet small;
  const Nets nets{.net = small.net()};
  for (const double given : {0.0, 0.3}) {
    IctConfig config = IctConfig::published();
    config.labels = no_drop, config.metric.c = given;
    const Drawn d = config.draw(gaussian_batch(12), nets, {0, 100});
    const ObjectiveLoss out = config.loss(nets, d);
    const double c = given > 0 ? given : 0.00108 * std::sqrt(static_cast<double>(dim));
    double wanted = 0;
    for (std::size_t i = 0; i < 12; ++i) wanted += numbers(d["weight"])[i] * (std::hypot(std::sqrt(numbers(out.raw)[i] * static_cast<double>(dim)), c) - c) / 12;
    CHECK(near(out.loss.value().item(), wanted, 1e-10));
  }
}

TEST_CASE("the residual is t times alpha-Flow's with s = 0 and alpha = (t - r) / t") {
  const SmallNet small;
  const CtConfig config = on<CtConfig>(9);
  const Nets nets{.net = small.net()};
  const Drawn d = config.draw(gaussian_batch(12), nets, {});
  const Tensor alpha = (d.p.t - d["r"]) / d.p.t;
  const Tensor same = row_sums(square(alpha_flow_residual(small.net(), d.p, one_point(), alpha).value())) / static_cast<double>(dim);
  CHECK(max_difference(config.loss(nets, d).raw, square(d.p.t) * same) < 1e-14);
}

TEST_CASE("consistency training with the teacher's velocity equals distillation with Euler's method") {
  const SmallNet small;
  const GaussianFlow g = gaussian();
  CdConfig euler = on<CdConfig>(9);
  euler.solver = "euler";
  const CtConfig ct = on<CtConfig>(9);
  const Nets nets{.net = small.net(), .teacher = g.v(), .velocity = teacher(g.v())};
  const Batch batch = gaussian_batch(12);
  const auto of = [&](const auto& config) { return config.loss(nets, config.draw(batch, nets, {})); };
  CHECK(max_difference(of(euler).raw, of(ct).raw) < 1e-15);
  CHECK(max_difference(of(euler).raw, of(on<CdConfig>(9)).raw) > 1e-3);
  CHECK(euler.needs().teacher_calls == 1);
  CHECK(CdConfig{}.needs().teacher_calls == 2);
  CHECK_FALSE(CdConfig{}.needs().velocity);
}

// Data N(0.4, 0.6^2), states from -2 to 2 at t = 0.7. The expected errors come from an independent computation and have two digits.
TEST_CASE("with the exact teacher, a step of distillation has the solver's error, and the loss has no other error") {
  const GaussianFlow g{times({0.4}), times({0.6})};
  const std::int64_t rows = 401;
  std::vector<double> states;
  for (std::int64_t i = 0; i < rows; ++i) states.push_back(-2 + 0.01 * static_cast<double>(i));
  const Tensor z = Tensor::from(states, {rows, 1}), t = Tensor::full({rows}, 0.7, DType::f64);
  const std::vector<std::pair<double, std::pair<double, double>>> printed{{0.1, {1.6e-2, 1.8e-3}}, {0.05, {3.7e-3, 2.1e-4}}, {0.025, {9e-4, 2.6e-5}}};
  for (const auto& entry : printed) {
    const Tensor r = t - entry.first;
    CdConfig config;
    Drawn d;
    d.p.z = z, d.p.s = Tensor::zeros({rows}, DType::f64), d.p.t = t, d.p.off_diagonal = rows;
    d.numbers = {{"r", r}, {"weight", Tensor::ones({rows}, DType::f64)}};
    for (const std::string solver : {"euler", "heun"}) {
      config.solver = solver;
      const Tensor error = step_back(g.v(), z, t, r, solver == "euler" ? Solver::euler : Solver::heun, 1, {}) - g.map(z, r, t);
      double largest = 0;
      for (double x : numbers(error)) largest = std::max(largest, std::abs(x));
      CHECK(near(largest, solver == "euler" ? entry.second.first : entry.second.second, 0.02));
      // Both jumps end where the flow ends, except for the solver's error, which the flow from r to 0 scales by `contraction`.
      const double contraction = 0.6 / std::sqrt(std::pow((1 - 0.7 + entry.first) * 0.6, 2) + std::pow(0.7 - entry.first, 2));
      CHECK(near(raw(config.loss({.net = g.u(), .teacher = g.v()}, d)), mean(square(contraction * error)).item(), 1e-9));
    }
  }
}

TEST_CASE("ECT: the earlier point is data below a sigma that shrinks from stage to stage; above, it has a share of sigma") {
  const auto first = earlier_sigma(ect_at_stage(0), {1.944, 1.947}), second = earlier_sigma(ect_at_stage(1), {0.510, 0.512});
  CHECK((first[0] == 0 && first[1] > 0));                                        // r is data up to sigma = log 7 = 1.9459
  CHECK((second[0] == 0 && second[1] > 0));                                      // r is data up to sigma = log(5/3) = 0.5108
  CHECK(earlier_sigma(ect_at_stage(2), {1e-6})[0] > 0);
  const std::vector<double> at{0.1, 1, 10};
  const auto shares = [&](double stage) {
    std::vector<double> out = earlier_sigma(ect_at_stage(stage), at);
    for (std::size_t i = 0; i < 3; ++i) out[i] /= at[i];
    return out;
  };
  CHECK(max_difference(shares(4), std::vector{0.85, 0.90, 0.97}) < 5e-3);
  CHECK(max_difference(shares(7), std::vector{0.981, 0.988, 0.996}) < 5e-4);
  CHECK(near(shares(4)[1], 1 - (1 + 8 / (1 + std::exp(1))) / 32, 1e-12));
  CHECK(max_difference(shares(4.99), shares(4)) == 0);
  EctConfig hour = ect_at_stage(0);
  hour.q = 256, hour.steps = 3, hour.slope = 0.5;
  CHECK(near(earlier_sigma(hour, {2})[0] / 2, 1 - (1 + 3 / (1 + std::exp(1))) / 256, 1e-12));
}

TEST_CASE("the times 0 and 1 give finite weights and earlier times") {
  PathBatch p;
  p.t = times({0, 1}), p.z = Tensor::zeros({2, 2}, DType::f64);
  for (const Drawn& d : {ect_at_stage(3).complete(p, {0, 100}), on<IctConfig>(11).complete(p, {0, 100})}) {
    for (double x : numbers(d["weight"])) CHECK((std::isfinite(x) && x > 0));
    for (double x : numbers(d["r"])) CHECK((x >= 0 && x <= 1));
  }
}

TEST_CASE("ECT has eight stages during a training, and the form of its computation stays the same") {
  EctConfig config;
  config.labels = no_drop;
  const Batch batch = gaussian_batch(8);
  std::vector<std::vector<double>> seen;
  for (std::int64_t step = 0; step < 80; ++step) {
    const Drawn d = config.draw(batch, {}, {step, 80});
    CHECK(d.form() == config.draw(batch, {}, {0, 80}).form());
    if (seen.empty() || numbers(d["r"]) != seen.back()) seen.push_back(numbers(d["r"]));
  }
  CHECK(seen.size() == 8);
  CHECK(make_objective(config).not_recorded == "");
  const auto t = numbers(config.draw(gaussian_batch(4001), {}, {0, 80}).p.t);    // the median of log sigma is -1.1 + log 2 = -0.407
  CHECK(std::abs(std::count_if(t.begin(), t.end(), [](double x) { return std::log(sigma(x)) < -0.407; }) / 4001.0 - 0.5) < 0.03);
}

TEST_CASE("ECT: the target is data where the earlier point is data; the weight is the inverse of the gap in sigma") {
  const SmallNet small;
  const Nets nets{.net = small.net()};
  EctConfig config = ect_at_stage(0);
  const Drawn d = config.draw(gaussian_batch(32), nets, {0, 100});
  const Tensor f = d.p.z - column(d.p.t, 2) * evaluate(small.net(), d.p.z, d.p.s, d.p.t, d.p.y);
  const auto r = numbers(d["r"]), t = numbers(d.p.t), weight = numbers(d["weight"]), found = numbers(config.loss(nets, d).raw),
             to_data = numbers(row_sums(square(f - d.p.z0)) / static_cast<double>(dim));
  int at_data = 0;
  double total = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    CHECK(near(weight[i], 1 / (sigma(t[i]) - sigma(r[i])), 1e-9));
    total += weight[i] * found[i] / 32;
    at_data += r[i] == 0;
    if (r[i] == 0) CHECK(near(found[i], to_data[i], 1e-13));
    else CHECK(std::abs(found[i] - to_data[i]) > 1e-6);
  }
  CHECK(at_data > 16);
  CHECK(at_data < 32);
  CHECK(near(config.loss(nets, d).loss.value().item(), total, 1e-13));
  config.metric = EctConfig::published().metric;                                 // the distance, not squared
  double published = 0;
  for (std::size_t i = 0; i < 32; ++i) published += weight[i] * std::sqrt(found[i] * static_cast<double>(dim)) / 32;
  CHECK(near(config.loss(nets, d).loss.value().item(), published, 1e-9));
}

TEST_CASE("discrete consistency models declare jumps to data, with noise between calls, and an inexact minimum") {
  const auto check = [](const Objective& o) {
    CHECK(o.needs.jumps == Jumps::to_data);
    CHECK_FALSE(o.claims.exact);
    CHECK_FALSE(o.claims.unbiased);
    CHECK(o.needs.passes == 1);
  };
  check(make_objective(CtConfig{})), check(make_objective(IctConfig{})), check(make_objective(CdConfig{})), check(make_objective(EctConfig{}));
  CHECK(has(CtConfig{}.claims().why, "between neighbors of 151 grid points"));
  CHECK(has(CdConfig{}.claims().why, "one solver step (heun) between neighbors of 18 grid points"));
  CHECK(has(EctConfig{}.claims().why, "at the end at least 0.00390625 sigma long"));
}

TEST_CASE("decreasing grids and invalid ECT stages are refused before the first step, and the error names their keys") {
  CtConfig ct;
  ct.sigma_min = 2, ct.sigma_max = 1;
  CHECK(has(error_of<ConfigError>([&] { make_objective(ct, "map.objective.ct").check(10); }), "map.objective.ct.sigma_min = 2 is not below map.objective.ct.sigma_max = 1"));
  IctConfig ict;
  ict.first_points = 20, ict.last_points = 11;
  CHECK(has(error_of<ConfigError>([&] { make_objective(ict, "map.objective.ict").check(10); }),
            "map.objective.ict.first_points = 20 is above map.objective.ict.last_points = 11"));
  EctConfig ect;
  ect.stage = Ramp("linear", 0, 31);
  CHECK(error_of<ConfigError>([&] { make_objective(ect, "map.objective.ect").check(10); }) == "map.objective.ect.stage.to = 31: it must be between 0 and 30");
}
