// SiT's stochastic sampler on the Gaussian flow, whose velocity and distribution are known at every time.
#include "flowmap/sampler_sde.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "flowmap/path.h"
#include "flowmap/row_noise.h"
#include "flowmap/sampler.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

Tensor many(std::int64_t rows) { return random_normal({rows, dim}, {7, 7}, 0, DType::f64); }

// The largest errors of the columns' means and deviations, in deviations of the data.
struct Errors {
  double mean, deviation;
};
Errors errors_of(const Tensor& x) {
  const double rows = static_cast<double>(x.dim(0));
  const Tensor mean = sum(x, {0}) / rows, deviation = sqrt(sum(square(x - mean.reshape({1, dim})), {0}) / rows);
  const GaussianFlow g = gaussian();
  return {max_difference((mean - g.mean) / g.deviation, Tensor::zeros({dim}, DType::f64)), max_difference(deviation / g.deviation, Tensor::ones({dim}, DType::f64))};
}

}  // namespace

TEST_CASE("without diffusion the SDE sampler is Euler's method on its grid") {
  const Tensor noise = many(16);
  const SdeConfig config{.scale = 0, .calls = 10, .last = 0.1};
  Grid grid;
  for (int k = 0; k < 10; ++k) grid.push_back(1 - 0.1 * k);
  grid.push_back(0);
  CHECK(max_difference(sample_sde(gaussian().v(), noise, {}, config), sample_ode(gaussian().v(), noise, {}, grid)) < 1e-14);
  grid.pop_back();
  SdeConfig open = config;
  open.last_step = LastStep::none;
  CHECK(max_difference(sample_sde(gaussian().v(), noise, {}, open), sample_ode(gaussian().v(), noise, {}, grid)) < 1e-14);
}

TEST_CASE("a step of the SDE sampler is its formula, and the last step has no noise") {
  const Tensor noise = many(16), t1 = Tensor::ones({16}, DType::f64);
  const auto v = [](const Tensor& z, double t) { return evaluate(gaussian().v(), z, Tensor::full({z.dim(0)}, t, DType::f64), {}); };
  const RowNoise fresh(noise);
  // Two calls: from 1 to 0.2 with w(1) = 1 and score -z, then to 0 with w = 0.2 and score -(z + 0.8 v) / 0.2.
  const Tensor z = noise - 0.8 * (v(noise, 1) + noise) + std::sqrt(1.6) * fresh.at(0);
  SdeConfig config{.calls = 2, .last = 0.2, .last_step = LastStep::none};
  CHECK(max_difference(sample_sde(gaussian().v(), noise, {}, config), z) < 1e-14);
  config.last_step = LastStep::mean;
  CHECK(max_difference(sample_sde(gaussian().v(), noise, {}, config), z - 0.2 * (v(z, 0.2) + (z + 0.8 * v(z, 0.2)))) < 1e-14);
  config.last_step = LastStep::tweedie;
  CHECK(max_difference(sample_sde(gaussian().v(), noise, {}, config), z - 0.2 * v(z, 0.2)) < 1e-14);
}

TEST_CASE("the SDE's samples have the data's mean and deviation, with every diffusion") {
  const Tensor noise = many(2000);
  for (const std::string name : {"sigma", "constant", "sbdm", "decreasing", "increasing-decreasing"}) {
    CAPTURE(name);
    const LastStep last = name == "constant" ? LastStep::tweedie : LastStep::mean;
    const Tensor x = sample_sde(gaussian().v(), noise, {}, {.diffusion = diffusion_named(name), .calls = 120, .last_step = last});
    const Errors e = errors_of(x);
    CHECK(e.mean < 0.08);                                            // 0.05 by chance alone, in the worst of five columns
    CHECK(e.deviation < 0.06);
    CHECK(max_difference(x, sample_ode(gaussian().v(), noise, {}, plain_grid(100))) > 1);   // other samples than the ODE's
  }
  const VelocityNet wrong = [](const Var& z, const Var& t, const Labels& y) { return 1.3 * gaussian().v()(z, t, y); };
  CHECK(errors_of(sample_sde(wrong, noise, {})).deviation > 0.2);
}

TEST_CASE("an SDE sample does not depend on its batch") {
  const Tensor noise = many(32), whole = sample_sde(gaussian().v(), noise, {}, {.calls = 5});
  CHECK(max_difference(sample_sde(gaussian().v(), noise.slice(0, 5, 9), {}, {.calls = 5}), whole.slice(0, 5, 9)) < 1e-14);
}

TEST_CASE("the SDE starts at t = 1, with sbdm at 0.999, and makes its last call at the given time") {
  std::vector<double> asked;
  const VelocityNet watched = [&](const Var& z, const Var& t, const Labels& y) { return asked.push_back(t.value().to_vector<double>()[0]), gaussian().v()(z, t, y); };
  sample_sde(watched, many(2), {}, {.calls = 3, .last = 0.2});
  REQUIRE(asked.size() == 3);
  CHECK(asked[0] == 1);
  CHECK(near(asked[1], 0.6, 1e-14));
  CHECK(asked[2] == 0.2);
  sample_sde(watched, many(2), {}, {.diffusion = Diffusion::sbdm, .calls = 3});
  CHECK(asked[3] == 0.999);
}

TEST_CASE("rows that differ in the last bits of two values get different noise") {
  const auto value = [](std::uint32_t bits) { return static_cast<double>(std::bit_cast<float>(bits)); };
  const Tensor rows = Tensor::from<double>({value(0x3F800000), value(0x3F000000), value(0x3F800001), value(0x3F000002)}, {2, 2});
  const std::vector<double> noise = RowNoise(rows).at(0).to_vector<double>();
  CHECK(noise[0] != noise[2]);
  CHECK(RowNoise(rows).at(1).to_vector<double>() != noise);
  const std::vector<double> second_alone = RowNoise(Tensor::from<double>({1, 0.5, 1, 0.25}, {2, 2})).at(0).to_vector<double>();
  CHECK(second_alone[0] != second_alone[2]);
}

TEST_CASE("the diffusions are SiT's formulas at our times") {
  CHECK(diffusion_at(diffusion_named("sigma"), 0.3) == 0.3);
  CHECK(diffusion_at(diffusion_named("linear"), 0.3) == 0.3);
  CHECK(diffusion_at(diffusion_named("constant"), 0.3) == 1);
  CHECK(near(diffusion_at(diffusion_named("sbdm"), 0.75), 3, 1e-14));
  CHECK(near(diffusion_at(diffusion_named("decreasing"), 1), 1, 1e-14));                 // SiT's begins with 1 at noise and ends with 0 at data
  CHECK(near(diffusion_at(diffusion_named("decreasing"), 0.25), std::pow(1 - std::sqrt(0.5), 2) / 4, 1e-14));
  CHECK(near(diffusion_at(diffusion_named("increasing-decreasing"), 0.25), 0.5, 1e-14));
}

TEST_CASE("invalid settings of the SDE sampler are refused") {
  const Tensor noise = many(2);
  const auto refused = [&](const SdeConfig& c) { return error_of<ConfigError>([&] { sample_sde(gaussian().v(), noise, {}, c); }); };
  CHECK(mentions(refused({.calls = 1}), {"1 calls", "2"}));
  CHECK(mentions(refused({.scale = -1}), {"-1", "0"}));
  CHECK(mentions(refused({.last = 1}), {"t = 1", "below its first time, 1;"}));
  for (const double last : {0.999, 0.9995}) CHECK(mentions(refused({.diffusion = Diffusion::sbdm, .last = last}), {fmt::format("t = {}", last), "first time, 0.999"}));
  CHECK(refused({.diffusion = Diffusion::sbdm, .last = 0.998}) == "no error");
  CHECK(refused({.last = 0.9995}) == "no error");
  CHECK(error_of<ConfigError>([] { diffusion_named("sigmoid"); }) ==
        fmt::format("there is no diffusion 'sigmoid': known are {}", fmt::join(diffusion_names(), ", ")));
  CHECK(mentions(error_of<ConfigError>([] { last_step_named("last"); }), {"'last'", "mean, tweedie, none"}));
  for (const std::string& name : diffusion_names()) CHECK_NOTHROW(diffusion_named(name));
}
