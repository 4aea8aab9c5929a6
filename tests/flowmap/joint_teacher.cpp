// A teacher that moves a second variable k with the samples (REG): w at the sample's own k, whose mean is the velocity of z alone; trajectories from noise.
#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/objective/list.h"
#include "flowmap/objective/tvm.h"
#include "flowmap/training/stage.h"
#include "flowmap/velocity.h"
#include "nn/models/flow_mlp.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// The batch of gaussian_batch() whose k is made of its own z0, so that a row's k names the row.
Batch batch_with_k(std::int64_t rows) {
  Batch b = gaussian_batch(rows);
  b.beside = b.z0.slice(1, 0, 2).contiguous();
  return b;
}

// Standard normal z0 and k with correlation r: the coefficients of E[eps - z0 | z_t, k_t] = a z_t + b k_t and of E[eps - z0 | z_t] = c z_t, by
// regression.
struct Correlated {
  double r, t;
  double variance() const { return (1 - t) * (1 - t) + t * t; }
  double covariance() const { return (1 - t) * (1 - t) * r; }
  double determinant() const { return variance() * variance() - covariance() * covariance(); }
  double a() const { return ((2 * t - 1) * variance() + (1 - t) * r * covariance()) / determinant(); }
  double b() const { return (-(1 - t) * r * variance() - (2 * t - 1) * covariance()) / determinant(); }
  double c() const { return (2 * t - 1) / variance(); }

  VelocityNet rows() const {
    return [x = *this](const Var& zk, const Var&, const Labels&) { return concat({slice(zk, 1, 0, 1) * x.a() + slice(zk, 1, 1, 2) * x.b(), slice(zk, 1, 1, 2)}, 1); };
  }
  // n samples placed at time t.
  PathBatch path(std::int64_t n) const {
    const Draws draws{3, 0, consecutive(0, n)};
    const Tensor z0 = draws.normal({1}, DType::f64, Purpose::sampling), own = draws.normal({1}, DType::f64, Purpose::renoise);
    Pairs pairs{std::vector<double>(static_cast<std::size_t>(n), t), std::vector<double>(static_cast<std::size_t>(n), t), {}, 0};
    for (std::int64_t i = 0; i < n; ++i) pairs.order.push_back(i);
    return place_on_path({z0, {}, draws, {}, z0 * r + own * std::sqrt(1 - r * r)}, pairs, {});
  }
};

double slope(const Tensor& w, const Tensor& z) { return sum(w * z).item() / sum(z * z).item(); }

}  // namespace

TEST_CASE("a batch's second variable follows its rows, and its noise is a function of the row alone") {
  PairConfig pairs;
  pairs.diagonal_share = 0.5;
  const PathBatch p = draw_path_batch(batch_with_k(12), pairs, {});
  CHECK(max_difference(p.beside, p.z0.slice(1, 0, 2)) == 0);
  CHECK(p.draws.samples != consecutive(1000, 12));                                        // the rows were rearranged
  CHECK(max_difference(p.beside_noise, p.draws.normal({2}, DType::f64, Purpose::beside)) == 0);
  CHECK(max_difference(p.beside_noise, p.eps.slice(1, 0, 2)) > 0.1);                         // not the noise of z
  PathBatch listed = p;
  int tensors = 0;
  listed.each_tensor([&](Tensor&) { ++tensors; });
  CHECK(tensors == 8);                                                                     // a recorded step copies k and its noise too
  CHECK(!draw_path_batch(gaussian_batch(4), pairs, {}).beside.defined());
  Batch wrong = gaussian_batch(4);
  wrong.beside = Tensor::zeros({3, 2});
  CHECK(has(error_of<ShapeError>([&] { draw_path_batch(wrong, pairs, {}); }), "must have one row of numbers for each of 4 rows"));
}

TEST_CASE("w is the joint velocity at k's own place on the path, and its mean over k is the velocity of z alone") {
  const Correlated x{0.9, 0.6};
  const PathBatch p = x.path(20000);
  const Tensor w = joint_teacher(x.rows())(p), k = p.beside * (1 - x.t) + p.beside_noise * x.t;
  CHECK(max_difference(w, p.z * x.a() + k * x.b()) < 1e-12);
  CHECK(near_within(slope(w, p.z), x.c(), 0.02));
  CHECK(std::abs(slope(p.z * x.a() + p.beside * x.b(), p.z) - x.c()) > 0.2);               // with k as it is, without noise, it is not
  const Tensor half = velocity_source("blend=0.25", x.rows(), true)(p);
  CHECK(max_difference(half, 0.75 * (p.eps - p.z0) + 0.25 * w) < 1e-12);
  CHECK(max_difference(velocity_source("teacher", x.rows(), true)(p), w) == 0);
  PathBatch without = p;
  without.beside = {};
  CHECK(has(error_of<Error>([&] { joint_teacher(x.rows())(without); }), "moves a second variable together with the samples, and this batch has none"));
}

TEST_CASE("an objective that places its rows at another time takes k there too") {
  Tensor seen, at;
  const VelocityNet spy = [&](const Var& rows, const Var& t, const Labels&) { return seen = rows.value(), at = t.value(), rows * 0.0; };
  const SmallNet small;
  TvmConfig config;
  Batch batch = batch_with_k(6);
  batch.y = {};
  const Drawn drawn = config.draw(batch, {}, {0, 1});
  config.loss({.net = small.net(), .velocity = joint_teacher(spy)}, drawn);
  REQUIRE(seen.defined());
  CHECK(max_difference(at, drawn.p.t) > 0.01);
  CHECK(max_difference(seen.slice(1, 0, dim), interpolate(drawn.p.z0, drawn.p.eps, at)) < 1e-14);
  CHECK(max_difference(seen.slice(1, dim, dim + 2), interpolate(drawn.p.beside, drawn.p.beside_noise, at)) < 1e-14);
}

TEST_CASE("CMT rolls both variables out from noise, and its states are those of z") {
  constexpr double speed = 0.8;                        // dz/dt = speed k, dk/dt = -speed z
  const VelocityNet turn = [](const Var& rows, const Var&, const Labels&) { return concat({slice(rows, 1, 2, 4) * speed, slice(rows, 1, 0, 2) * -speed}, 1); };
  CmtConfig config;
  config.points = 5, config.pairs = 3;
  const Draws draws{5, 2, consecutive(7, 3)};
  const Trajectories both = roll_out(turn, {2}, {}, draws, config, DType::f64, 2);
  Tensor z = draws.normal({2}, DType::f64), k = draws.normal({2}, DType::f64, Purpose::beside);
  REQUIRE(both.states.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(both.states[i].shape() == Shape{3, 2});
    CHECK(max_difference(both.states[i], z) < 1e-14);
    if (i == 4) break;
    const double step = both.times[i] - both.times[i + 1];
    const Tensor moved_z = z - k * (step * speed), moved_k = k + z * (step * speed);
    z = moved_z, k = moved_k;
  }
  const Drawn drawn = config.draw({{}, {}, draws}, {.teacher = turn, .beside = 2, .shape = {2}, .dtype = DType::f64}, {0, 1});
  CHECK(drawn.p.z.shape() == Shape{9, 2});
  CHECK(max_difference(drawn["target"], draw_jumps(both, config).target) == 0);
}

TEST_CASE("objectives that call the teacher where no k is known refuse it; the others take it as their velocity") {
  const Correlated x{0.9, 0.6};
  for (const std::string& name : objective_names()) {
    ObjectiveConfig config;
    config.name = name;
    const Objective objective = config.chosen("map.objective");
    const bool own_points = objective.needs.teacher && name != "cmt" && name != "scd";
    CHECK_MESSAGE(objective.needs.teacher_of_z == own_points, name);
  }
  LoopConfig loop;
  loop.steps = 1, loop.batch = 4;
  CHECK_NOTHROW(check_teacher_of_rows("map", {.teacher_of_z = true}, 0));
  CHECK_NOTHROW(check_teacher_of_rows("map", {.teacher = true}, 2));
  const auto problem = [&](const std::string& name) {
    ObjectiveConfig config;
    config.name = name;
    const FlowParts parts{.objective = config.chosen("map.objective"), .network = Network(std::make_shared<FlowMlp>(FlowMlpConfig{.dim = 5, .classes = 0, .mean_flow = true}, 1)),
                          .batch = [](const StepPart&) { return batch_with_k(4); }, .teacher = x.rows(), .beside = 2, .shape = {5}};
    return error_of<ConfigError>([&] { flow_stage("map", loop, parts); });
  };
  for (const char* name : {"cd", "ctm", "lmd"}) CHECK(has(problem(name), "map: its objective calls the teacher at points of its own, and this teacher (REG) needs the class token"));
}

TEST_CASE("sCD takes the joint velocity as its teacher's") {
  const SmallNet small;
  const VelocityNet rows = [](const Var& zk, const Var&, const Labels&) { return concat({slice(zk, 1, 0, dim) * 0.3 + slice(zk, 1, dim, dim + 1), slice(zk, 1, dim, dim + 2)}, 1); };
  ScdConfig config;
  const Drawn drawn = config.draw(batch_with_k(6), {}, {0, 1});
  const double joint = config.loss({.net = small.net(), .teacher = rows, .beside = 2}, drawn).loss.value().item();
  SctConfig same;
  static_cast<ScaledCmConfig&>(same) = config;
  const double wanted = same.loss({.net = small.net(), .velocity = joint_teacher(rows)}, drawn).loss.value().item();
  CHECK(near(joint, wanted, 1e-14));
}
