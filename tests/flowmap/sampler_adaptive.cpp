// The adaptive solver on the Gaussian flow, whose map is known, and on an equation with a known solution.
#include "flowmap/sampler_adaptive.h"

#include "flowmap/sampler.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

const Tensor& noise() {
  static const Tensor z = random_normal({16, dim}, {4, 4}, 0, DType::f64);
  return z;
}
double error_at(double tolerance) {
  const AdaptiveSamples s = sample_adaptive(gaussian().v(), noise(), {}, {.absolute = tolerance, .relative = tolerance});
  return max_difference(s.samples, gaussian().map(noise(), Tensor::zeros({16}, DType::f64), Tensor::ones({16}, DType::f64)));
}

}  // namespace

TEST_CASE("the adaptive solver keeps the error near its tolerance") {
  CHECK(error_at(1e-3) < 1e-2);
  CHECK(error_at(1e-6) < 1e-5);
  CHECK(error_at(1e-9) < 1e-8);
  CHECK(error_at(1e-3) > 1e-6);                                       // a larger tolerance is used, too
}

TEST_CASE("the adaptive solver's calls grow with the fifth root of the accuracy, and are counted") {
  std::int64_t calls = 0;
  const VelocityNet counted = [&](const Var& z, const Var& t, const Labels& y) { return ++calls, gaussian().v()(z, t, y); };
  const AdaptiveSamples loose = sample_adaptive(counted, noise(), {}, {.absolute = 1e-6, .relative = 1e-6});
  CHECK(calls == loose.calls);
  CHECK(loose.calls == 2 + 6 * (loose.steps + loose.rejected));
  const AdaptiveSamples fine = sample_adaptive(counted, noise(), {}, {.absolute = 1e-11, .relative = 1e-11});
  CHECK(near(static_cast<double>(fine.steps) / static_cast<double>(loose.steps), 10, 0.25));
  CHECK(fine.rejected < 10);                                          // 3; a wrong exponent of the step size repeats every other step
}

TEST_CASE("the adaptive solver takes an absolute tolerance alone") {
  const AdaptiveSamples s = sample_adaptive(gaussian().v(), noise(), {}, {.absolute = 1e-8, .relative = 0});
  CHECK(max_difference(s.samples, gaussian().map(noise(), Tensor::zeros({16}, DType::f64), Tensor::ones({16}, DType::f64))) < 1e-7);
}

TEST_CASE("a sudden change of the velocity makes the adaptive solver repeat steps") {
  const VelocityNet sharp = [](const Var& z, const Var& t, const Labels&) { return z * 0.0 + column(tanh(200.0 * (t - 0.5)), 2); };
  const AdaptiveSamples s = sample_adaptive(sharp, noise(), {}, {.absolute = 1e-8, .relative = 1e-8});
  CHECK(s.rejected > 0);
  CHECK(max_difference(s.samples, noise()) < 1e-6);                   // the integral is 0 by symmetry
}

TEST_CASE("the adaptive solver starts and ends at the times it is given") {
  const Tensor half = Tensor::full({16}, 0.5, DType::f64), quarter = Tensor::full({16}, 0.25, DType::f64);
  const AdaptiveSamples s = sample_adaptive(gaussian().v(), noise(), {}, {.absolute = 1e-9, .relative = 1e-9, .from = 0.5, .to = 0.25});
  CHECK(max_difference(s.samples, gaussian().map(noise(), quarter, half)) < 1e-8);
}

TEST_CASE("the adaptive solver refuses what it cannot do") {
  const auto refused = [&](const AdaptiveOde& ode) { return error_of<ConfigError>([&] { sample_adaptive(gaussian().v(), noise(), {}, ode); }); };
  CHECK(mentions(refused({.absolute = 0}), {"0 absolute"}));
  CHECK(mentions(refused({.from = 0.2, .to = 0.2}), {"0.2", "fall"}));
  const VelocityNet broken = [](const Var& z, const Var&, const Labels&) { return z * double(NAN); };
  CHECK(mentions(error_of<Error>([&] { sample_adaptive(broken, noise(), {}); }), {"not finite", "t = "}));
  CHECK(mentions(error_of<Error>([&] { sample_adaptive(gaussian().v(), noise(), {}, {.absolute = 1e-12, .relative = 1e-12, .most_steps = 3}); }), {"3 steps", "t = "}));
}
