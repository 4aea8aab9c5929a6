// Samples of two variables that move together, against closed forms: velocities that couple both, and independent ones.
#include "flowmap/training/joint_generator.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "flowmap/row_noise.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

const Shape z_shape{2, 3}, k_shape{6};

Tensor noise(std::int64_t rows) { return sample_noise(consecutive(0, rows), z_shape, 5); }

// dz/dt = w k, dk/dt = -w z: backwards from t = 1 to 0 the pair turns by the angle w, elementwise.
constexpr double w = 0.8;
JointVelocityNet rotation() {
  return [](const Var& z, const Var& k, const Var& t, const Labels&) {
    const std::int64_t n = t.dim(0);
    return std::pair(reshape(k, {n, 2, 3}) * w, reshape(z, {n, 6}) * -w);
  };
}

LatentGenerator generator(JointVelocityNet net, int steps, TeacherSolver solver) {
  return first_of_joined(velocity_generator(on_joined_rows(std::move(net), z_shape, k_shape), plain_grid(steps), solver), z_shape, k_shape);
}

}  // namespace

TEST_CASE("every name of the list is a solver of teachers, and another name is refused with the list") {
  for (const std::string& name : teacher_solver_names()) CHECK_NOTHROW(teacher_solver_named(name));
  for (const std::string& name : solver_names()) CHECK_NOTHROW(teacher_solver_named(name));
  CHECK(error_of<ConfigError>([] { teacher_solver_named("rk4"); }) == "there is no solver 'rk4': known are euler, heun, dopri5, sde");
}

TEST_CASE("both variables move together: solvers reach the rotation by the angle w, and only the first variable is returned") {
  const Tensor z = noise(3), k = RowNoise(z).beside(k_shape).reshape({3, 2, 3});
  const Tensor wanted = z * std::cos(w) - k * std::sin(w);
  const Tensor adaptive = generator(rotation(), 1, TeacherSolver::dopri5)(z, {}), heun = generator(rotation(), 100, TeacherSolver::heun)(z, {});
  CHECK(adaptive.shape() == z.shape());
  CHECK(norm(adaptive - wanted) < 1e-3 * norm(wanted));
  CHECK(norm(heun - wanted) < 1e-4 * norm(wanted));
  const Tensor one_step = generator(rotation(), 1, TeacherSolver::euler)(z, {});
  CHECK(norm(one_step - (z - k * w)) < 1e-6 * norm(z));
}

TEST_CASE("a variable that does not act on the other leaves its samples as they are without it; the SDE too, but for its noise") {
  const VelocityNet alone = [](const Var& z, const Var&, const Labels&) { return z * 0.3; };
  const JointVelocityNet apart = [](const Var& z, const Var& k, const Var&, const Labels&) { return std::pair(z * 0.3, k * -2.0); };
  const Tensor z = noise(4);
  CHECK(norm(generator(apart, 5, TeacherSolver::euler)(z, {}) - velocity_generator(alone, plain_grid(5), TeacherSolver::euler)(z, {})) < 1e-6 * norm(z));
  const Tensor both = generator(apart, 5, TeacherSolver::sde)(z, {});
  CHECK(both.shape() == z.shape());
  CHECK(norm(both - z) > 0.1 * norm(z));
}

TEST_CASE("dopri5 adds up the calls and steps of all batches, six calls a step and two more a batch") {
  const VelocityNet v = [](const Var& z, const Var&, const Labels&) { return z * 0.3; };
  const auto work = std::make_shared<AdaptiveWork>();
  const LatentGenerator generate = velocity_generator(v, plain_grid(1), TeacherSolver::dopri5, work);
  const Tensor first = generate(noise(4), {});
  const std::int64_t steps = work->steps;
  CHECK(work->batches == 1);
  CHECK(steps > 0);
  CHECK(norm(generate(noise(4), {}) - first) == 0);
  CHECK(work->batches == 2);
  CHECK(work->steps == 2 * steps);
  CHECK(work->calls == 6 * (work->steps + work->rejected) + 4);
}

TEST_CASE("guidance of the joined rows acts on both variables") {
  // v(z, k, y): the label moves k, and k moves z.
  const JointVelocityNet net = [](const Var& z, const Var& k, const Var& t, const Labels& y) {
    const std::int64_t n = t.dim(0);
    return std::pair(reshape(k, {n, 2, 3}) + z * 0.0, k * 0.0 + Var(y.to(DType::f32).reshape({n, 1})));
  };
  const auto guided_by = [&](double scale) {
    const VelocityNet v = guided(on_joined_rows(net, z_shape, k_shape), scale, 0);
    return first_of_joined(velocity_generator(v, plain_grid(2), TeacherSolver::euler), z_shape, k_shape);
  };
  const Tensor z = noise(2), k = RowNoise(z).beside(k_shape).reshape({2, 2, 3}), y = Tensor::full({2}, 3, DType::i64);
  // Two steps of 1/2: k loses scale y / 2 in the first, which the second passes to z.
  for (const double scale : {1.0, 2.0}) {
    const Tensor wanted = z - k * 0.5 - (k - 0.5 * 3 * scale) * 0.5;
    CHECK(norm(guided_by(scale)(z, y) - wanted) < 1e-5 * norm(wanted));
  }
}

TEST_CASE("the second variable's noise is normal, belongs to the row, and is no noise of a step") {
  const Tensor z = noise(2000), k = RowNoise(z).beside({50});
  CHECK(k.shape() == Shape{2000, 50});
  const std::vector<double> values = k.to_vector<double>();
  double mean = 0, square = 0;
  for (const double v : values) mean += v / 1e5, square += v * v / 1e5;
  CHECK(std::abs(mean) < 0.02);
  CHECK(std::abs(square - 1) < 0.03);
  const RowNoise rows(z);
  CHECK(max_difference(rows.beside(z_shape), rows.at(0)) > 1);
  CHECK(max_difference(rows.beside(z_shape), z) > 1);
  CHECK(max_difference(RowNoise(z.slice(0, 7, 9)).beside({50}), k.slice(0, 7, 9)) == 0);
  const LatentGenerator generate = generator(rotation(), 3, TeacherSolver::sde);
  CHECK(max_difference(generate(z.slice(0, 7, 9), {}), generate(z.slice(0, 0, 10), {}).slice(0, 7, 9)) < 1e-6);
}
