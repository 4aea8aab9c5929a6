// Guards of the derivative and of the correction: the warm-up over a training, clamped corrections, norms, and configs that set the warm-up to a number.
#include "flowmap/tangent.h"

#include <cmath>

#include "flowmap/objective/continuous_cm.h"
#include "flowmap/objective/mean_flow.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

PathBatch points(std::int64_t rows) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = 0.5}, {0, 4}); }

// Checks the warm-up of an objective with a TangentPolicy.
template <class Config, class Loss> void follows_the_training(const Loss& loss) {
  const SmallNet small;
  const PathBatch p = points(12);
  REQUIRE(p.off_diagonal > 0);
  Config rising;
  rising.tangent.warmup = 0.99, rising.tangent.warmup_over = 0.5;
  const Nets nets{.net = small.net()};
  const Objective o = make_objective(rising);
  double before = -1;
  for (const auto& at : {std::pair<std::int64_t, double>{0, 0}, {100, 0.198}, {250, 0.495}, {500, 0.99}, {999, 0.99}}) {
    const std::int64_t step = at.first;
    const double r = at.second;
    CAPTURE(step);
    Config constant;
    constant.tangent.warmup = r;
    const double wanted = loss(small.net(), p, constant, TrainingStep{}).loss.value().item();
    CHECK(near(loss(small.net(), p, rising, TrainingStep{step, 1000}).loss.value().item(), wanted, 1e-14));
    const Drawn drawn = o.complete(p, {step, 1000});
    CHECK(near(o.loss(nets, drawn).loss.value().item(), wanted, 1e-14));
    REQUIRE(drawn.numbers.size() == 1);
    CHECK(near_zero(drawn["warmup"].to_vector<double>()[11] - r, 1e-15));
    CHECK(wanted != before);
    before = step < 500 ? wanted : -1;
  }
  // For a recorded step it is enough to overwrite the number.
  Drawn early = o.complete(p, {100, 1000});
  const Drawn late = o.complete(p, {900, 1000});
  REQUIRE(early.form() == late.form());
  early.numbers[0].second.copy_from(late["warmup"]);
  CHECK(o.loss(nets, early).loss.value().item() == o.loss(nets, late).loss.value().item());
  // A constant warm-up, the default, needs no number.
  CHECK(make_objective(Config{}).complete(p, {1, 10}).numbers.empty());
  CHECK(rising.claims().exact == false);                       // the warm-up ends at 0.99, not at 1
  rising.tangent.warmup = 1;
  CHECK(rising.claims().exact);
}

}  // namespace

TEST_CASE("the warm-up of the tangent rises with the training step and then stays, in MeanFlow and in continuous consistency") {
  follows_the_training<MeanFlowConfig>([](const auto& net, const auto& p, const auto& config, const TrainingStep& now) {
    return mean_flow(net, p, one_point(), config, now);
  });
  follows_the_training<ContinuousCmConfig>([](const auto& net, const auto& p, const auto& config, const TrainingStep& now) {
    return continuous_cm(net, p, one_point(), config, now);
  });
  TangentPolicy steps{.warmup = 0.5, .warmup_over = 10000};
  CHECK(near(steps.schedule().at({2500, 1000000}), 0.125, 1e-15));
  CHECK(steps.schedule().at({20000, 1000000}) == 0.5);
  CHECK(TangentPolicy{.warmup = 0.3}.schedule().at({0, 10}) == 0.3);
  CHECK(has(error_of<Error>([&] { guard(Tensor::ones({2, 2}, DType::f64), 2, steps); }), "its value at this step is missing"));
  // A row without a derivative has a number too, but it is not used.
  const Tensor d = Tensor::from<double>({1, 2, 3, 4}, {2, 2});
  CHECK(guard(d, 3, steps, times({0.5, 2, 7})).dudt.to_vector<double>() == std::vector<double>{0.5, 1, 6, 8});
}

TEST_CASE("a config sets the tangent's warm-up by a plain number, with or without tangent.warmup_over") {
  MeanFlowConfig config;
  const std::vector<Field> fields = list_fields(config);
  set_from_text(find_field(fields, "tangent.warmup", "a.toml"), "1", "a.toml:1");
  CHECK(config.tangent.schedule().at({0, 1000}) == 1);
  set_from_text(find_field(fields, "tangent.warmup", "a.toml"), "0.5", "a.toml:1");
  CHECK(config.tangent.schedule().at({0, 1000}) == 0.5);
  set_from_text(find_field(fields, "tangent.warmup_over", "a.toml"), "10000", "a.toml:2");
  CHECK(near(config.tangent.schedule().at({2000, 50000}), 0.1, 1e-15));
  CHECK_THROWS_AS(set_from_text(find_field(fields, "tangent.norm", "a.toml"), "max", "a.toml:3"), ConfigError);
}

TEST_CASE("corrections are clamped, then normalized by the row's norm or root mean square") {
  const Tensor g = Tensor::from<double>({3, -4, 0.3, 0.4}, {2, 2});
  CHECK(max_difference(normalised(g, 0.5), Tensor::from<double>({3 / 5.5, -4 / 5.5, 0.3, 0.4}, {2, 2})) < 1e-15);
  const double a = 5 / std::sqrt(2) + 0.5, b = 0.5 / std::sqrt(2) + 0.5;
  CHECK(max_difference(normalised(g, 0.5, "rms"), Tensor::from<double>({3 / a, -4 / a, 0.3 / b, 0.4 / b}, {2, 2})) < 1e-15);
  CHECK_THROWS_AS(normalised(g, 0.5, "max"), ConfigError);
  CHECK(guarded_correction(g, {.clamp_residual = 1}).to_vector<double>() == std::vector<double>{1, -1, 0.3, 0.4});
  const double cut = std::sqrt(2) + 0.1;
  CHECK(max_difference(guarded_correction(g, {.clamp_residual = 1, .normalise = 0.1}).slice(0, 0, 1), Tensor::from<double>({1 / cut, -1 / cut}, {1, 2})) < 1e-15);
  const Tensor u = Tensor::from<double>({1, 1, 1, 1}, {2, 2});
  CHECK(guarded_target(u + g, u, {}).shares_memory_with(u + g) == false);
  const Tensor target = u + g;
  CHECK(guarded_target(target, u, {}).shares_memory_with(target));
  CHECK(max_difference(guarded_target(target, u, {.clamp_residual = 1}), Tensor::from<double>({2, 0, 1.3, 1.4}, {2, 2})) < 1e-15);
  CHECK(derivative_ratio(Tensor::from<double>({3, 4}, {1, 2}), Tensor::from<double>({6, 8, 7, 7}, {2, 2})).to_vector<double>() == std::vector<double>{0.5});
  CHECK_FALSE(claims_under({}, TangentPolicy{.clamp_residual = 1}).unbiased);
  CHECK(claims_under({}, TangentPolicy{.clamp_residual = 1}).exact);
  CHECK(claims_under({}, TangentPolicy{}).unbiased);
}

TEST_CASE("guards of the correction change the losses: MeanFlow guards y - u, continuous consistency guards df/dt") {
  const SmallNet small;
  const PathBatch p = points(12);
  const auto [u, dudt] = differentiate(small.net(), {p.z, p.s, p.t, p.y, {}, {}}, first_rows(one_point()(p), p.off_diagonal), {});
  const Tensor g = minus_first_rows(one_point()(p), column(first_rows(p.t - p.s, p.off_diagonal), 2) * dudt) - u.value();
  REQUIRE(mean(greater(abs(g), Tensor::scalar(0.6, DType::f64))).item() > 0.1);
  const TangentPolicy cut{.clamp_residual = 0.6}, rms{.normalise = 0.2, .norm = "rms"};
  CHECK(near(mean_flow(small.net(), p, one_point(), {.tangent = cut}).loss.value().item(), mean(square(clamp(g, -0.6, 0.6))).item(), 1e-13));
  CHECK(near(mean_flow(small.net(), p, one_point(), {.tangent = rms}).loss.value().item(), mean(square(normalised(g, 0.2, "rms"))).item(), 1e-13));
  CHECK(near(continuous_cm(small.net(), p, one_point(), {.tangent = cut}).metrics.at("raw_mse").value(), mean(square(clamp(g, -0.6, 0.6))).item(), 1e-13));
  CHECK(near(continuous_cm(small.net(), p, one_point(), {.tangent = rms}).metrics.at("raw_mse").value(), mean(square(normalised(g, 0.2, "rms"))).item(), 1e-13));
}
