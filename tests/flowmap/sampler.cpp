// Samplers on the Gaussian flow, whose map from noise to data is known.
#include "flowmap/sampler.h"

#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tensor/error.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

const Tensor& noise() {
  static const Tensor z = random_normal({16, dim}, {4, 4}, 0, DType::f64);
  return z;
}
Tensor exact_sample(double end = 0) {
  return gaussian().map(noise(), Tensor::full({16}, end, DType::f64), Tensor::ones({16}, DType::f64));
}

}  // namespace

TEST_CASE("the closed-form flow map samples exactly, in any number of steps") {
  for (int steps : {1, 2, 3, 7})
    CHECK(max_difference(sample_flow_map(gaussian().u(), noise(), {}, plain_grid(steps)), exact_sample()) < 1e-14);
}

TEST_CASE("Euler's method is of first order, Heun's of second") {
  const auto error = [](int steps, Solver solver) {
    return norm(sample_ode(gaussian().v(), noise(), {}, plain_grid(steps), solver) - exact_sample());
  };
  CHECK(near(error(64, Solver::euler) / error(128, Solver::euler), 2, 5e-2));
  CHECK(near(error(64, Solver::heun) / error(128, Solver::heun), 4, 2e-2));
  CHECK(error(64, Solver::heun) < 0.1 * error(64, Solver::euler));
}

TEST_CASE("the teacher's grid ends before t = 0, and 50 points take 49 calls") {
  int calls = 0;
  const VelocityNet counted = [&](const Var& z, const Var& t, const Labels& y) { return ++calls, gaussian().v()(z, t, y); };
  const Grid grid = teacher_grid(50, 2);
  const auto states = trajectory(counted, noise(), {}, grid);
  CHECK(calls == 49);
  CHECK(states.size() == 50);
  CHECK(max_difference(states.front(), noise()) == 0);
  CHECK(max_difference(states.back(), sample_ode(gaussian().v(), noise(), {}, grid)) == 0);
  CHECK(norm(states.back() - exact_sample(grid.back())) < 0.05 * norm(noise()));
  CHECK(near(grid.back(), 0.002 / 1.001, 1e-14));
}

TEST_CASE("samplers pass labels to the network, and record nothing") {
  const SmallNet small;
  Tape tape;
  const Labels a = Tensor::full({16}, 1, DType::i64), b = Tensor::full({16}, 2, DType::i64);
  CHECK(max_difference(sample_flow_map(small.net(), noise(), a, plain_grid(2)), sample_flow_map(small.net(), noise(), b, plain_grid(2))) >
        1e-3);
  sample_ode(diagonal(small.net()), noise(), a, plain_grid(2), Solver::heun);
  CHECK(tape.size() == 0);
}

TEST_CASE("two steps of a network agree with the formula") {
  const SmallNet small;
  const auto u = [&](const Tensor& z, double s, double t) {
    return evaluate(small.net(), z, Tensor::full({16}, s, DType::f64), Tensor::full({16}, t, DType::f64), {});
  };
  const Tensor z = noise() - 0.5 * u(noise(), 0.5, 1);
  CHECK(max_difference(sample_flow_map(small.net(), noise(), {}, plain_grid(2)), z - 0.5 * u(z, 0, 0.5)) < 1e-15);
  const auto refusal = [&](const Grid& grid) { return error_of<ConfigError>([&] { sample_flow_map(small.net(), noise(), {}, grid); }); };
  CHECK(refusal({1, 0.5, 0.75}) == "sampler: time 0.75 of the grid follows 0.5: give falling times");
  CHECK(refusal({0, 0}) == "sampler: time 0 of the grid follows 0: give falling times");
  CHECK(refusal({1}) == "sampler: a grid of 1 times: give two or more");
}

TEST_CASE("the sampler of consistency models jumps to data only, with separate noise for each row between the jumps") {
  std::vector<double> asked;
  const FlowMapNet to_data = [&](const Var& z, const Var& s, const Var& t, const Labels& y) {
    CHECK(max_difference(s.value(), Tensor::zeros({z.dim(0)}, DType::f64)) == 0);
    asked.push_back(t.value().to_vector<double>()[0]);
    return gaussian().u()(z, s, t, y);
  };
  CHECK(max_difference(sample_renoised(to_data, noise(), {}, plain_grid(1)), exact_sample()) < 1e-14);
  asked.clear();
  const Tensor four = sample_renoised(to_data, noise(), {}, plain_grid(4));
  CHECK(asked == std::vector<double>{1, 0.75, 0.5, 0.25});
  CHECK(max_difference(four, exact_sample()) > 0.1);                   // fresh noise between calls makes other samples
  // A sample does not depend on its batch or on its place in the batch.
  const Tensor part = sample_renoised(gaussian().u(), noise().slice(0, 5, 9), {}, plain_grid(4));
  CHECK(max_difference(part, four.slice(0, 5, 9)) < 1e-14);
  // The distribution of the samples is the data's: the exact map turns fresh noise into data, whatever the earlier calls gave.
  const Tensor many = random_normal({20000, dim}, {6, 6}, 0, DType::f64), x = sample_renoised(gaussian().u(), many, {}, plain_grid(3));
  const Tensor mean_of = sum(x, {0}) / 20000.0, deviation = sqrt(sum(square(x - mean_of.reshape({1, dim})), {0}) / 20000.0);
  CHECK(max_difference(mean_of, gaussian().mean) < 0.04);
  CHECK(max_difference(deviation, gaussian().deviation) < 0.03);
  CHECK_THROWS_WITH_AS(sample_renoised(gaussian().u(), noise(), {}, Grid{1, 0.5}), doctest::Contains("a consistency model's grid must end at 0, not at 0.5"), ConfigError);
}

TEST_CASE("the sampler of consistency models continues from (1 - s) times the data plus s times new noise") {
  // A network whose jump to data from t = 1 ends at 0 and from s = 0.5 stays at z. The sample of two calls is then z_s = s e.
  const FlowMapNet net = [](const Var& z, const Var&, const Var& t, const Labels&) { return z * column(t - 0.5, 2) * 2.0; };
  const Tensor many = random_normal({4000, dim}, {7, 7}, 0, DType::f64), x = sample_renoised(net, many, {}, plain_grid(2));
  CHECK(std::abs(mean(square(x)).item() - 0.25) < 0.01);
  CHECK(std::abs(mean(x * many).item()) < 0.02);                       // the noise between calls is not the initial noise
}
