// Gaussian mixtures: the density, velocity and exact map against closed forms, against each other, and against points drawn from the data.
#include "autodiff/jvp.h"
#include "data/points.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/sampler.h"
#include "tests/flowmap/support.h"
#include "tensor/error.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

// Three modes in the plane with different weights, centers, and widths in each direction.
GaussianMixture three() {
  const auto two = [](double a, double b) { return Tensor::from<double>({a, b}, {2}); };
  return {{{1, two(-1, 0.5), two(0.3, 0.6)}, {0.5, two(1.2, 0), two(0.4, 0.2)}, {2, two(0.2, -1.1), two(0.7, 0.5)}}};
}

Tensor some_points(std::int64_t n = 40) { return random_normal({n, 2}, {6, 6}, 0, DType::f64) * 1.3; }
Tensor some_times(std::int64_t n = 40) { return affine(random_uniform({n}, {6, 7}, 0, DType::f64), 0.9, 0.05); }
Tensor all(std::int64_t n, double t, DType dtype = DType::f64) { return Tensor::full({n}, t, dtype); }

// The gradient of log p_t in z, and its derivative in t.
std::pair<Tensor, Tensor> slopes(const GaussianMixture& mixture, const Tensor& points, const Tensor& at) {
  Tape tape;
  const Var z = tape.variable(points), t = tape.variable(at);
  const Gradients g = backward(sum(mixture.log_density(z, t)));
  return {g[z], g[t]};
}

}  // namespace

TEST_CASE("a mixture of one Gaussian has the normal density") {
  const GaussianFlow g = gaussian();
  const GaussianMixture one{{{3, g.mean, g.deviation}}};
  const Tensor z = random_normal({6, dim}, {1, 1}, 0, DType::f64);
  for (const double t : {0.0, 0.3, 1.0}) {
    const std::vector<double> logs = one.log_density(z, all(6, t)).value().to_vector<double>(), x = z.to_vector<double>();
    const std::vector<double> mean = g.mean.to_vector<double>(), deviation = g.deviation.to_vector<double>();
    for (std::size_t i = 0; i < 6; ++i) {
      double wanted = 0;
      for (std::size_t d = 0; d < 5; ++d) {
        const double variance = (1 - t) * (1 - t) * deviation[d] * deviation[d] + t * t, off = x[i * 5 + d] - (1 - t) * mean[d];
        wanted += -0.5 * off * off / variance - 0.5 * std::log(2 * M_PI * variance);
      }
      CHECK(near(logs[i], wanted, 1e-13));
    }
  }
}

TEST_CASE("the density of a mixture integrates to 1 and is the mean of its components' densities") {
  const std::int64_t side = 241;
  const double step = 0.05;
  std::vector<double> grid;
  for (std::int64_t i = 0; i < side * side; ++i) {
    grid.push_back((static_cast<double>(i / side) - 120) * step);
    grid.push_back((static_cast<double>(i % side) - 120) * step);
  }
  const Tensor z = Tensor::from(grid, {side * side, 2});
  for (const double t : {0.0, 0.4}) {
    const Tensor p = exp(three().log_density(z, all(side * side, t)).value());
    CHECK(near(sum(p).item() * step * step, 1, 1e-9));               // sums of smooth functions that vanish at the border are exact
  }
  const GaussianMixture mixture = three();
  const Tensor at = some_points(), t = some_times();
  Tensor parts = Tensor::zeros({40}, DType::f64);
  for (const auto& c : mixture.components) parts = parts + c.weight / 3.5 * exp(GaussianMixture{{c}}.log_density(at, t).value());
  CHECK(max_difference(exp(mixture.log_density(at, t).value()), parts) < 1e-14);
}

// z_t = (1-t) z0 + t e, so E[e | z] = -t grad log p, and v = E[e - z0 | z] = (E[e | z] - z) / (1 - t).
TEST_CASE("the velocity of a mixture follows from the gradient of its log density") {
  const Tensor z = some_points(), t = some_times(), tt = column(t, 2);
  const auto [score, unused] = slopes(three(), z, t);
  CHECK(max_difference(evaluate(three().v(), z, t, {}), (-1.0 * tt * score - z) / (1.0 - tt)) < 1e-12);
}

// Probability is neither made nor lost: d/dt log p + v . grad log p + div v = 0.
TEST_CASE("velocity and density satisfy the continuity equation") {
  const Tensor z = some_points(), t = some_times();
  const VelocityNet v = three().v();
  const auto [score, in_time] = slopes(three(), z, t);
  Tensor rest = in_time + row_sums(evaluate(v, z, t, {}) * score);
  for (int d = 0; d < 2; ++d) {
    const Tensor unit = Tensor::zeros(z.shape(), DType::f64);
    unit.slice(1, d, d + 1).fill(1);
    rest = rest + jvp([&](const Var& x) { return v(x, t, {}); }, at(z), along(unit)).second.select(1, d);
  }
  CHECK(norm(in_time) > 1);
  CHECK(max_difference(rest, Tensor::zeros({40}, DType::f64)) < 1e-11);
}

TEST_CASE("the map of one Gaussian has its closed form, for s below and above t") {
  const GaussianFlow g = gaussian();
  const GaussianMixture one{{{0.7, g.mean, g.deviation}}};
  const Tensor z = random_normal({9, dim}, {1, 2}, 0, DType::f64);
  const Tensor s = times({0, 0, 0.2, 0.5, 1, 0.9, 0.3, 0, 0.4}), t = times({1, 0.5, 0.9, 0.5, 0, 0.1, 0.2, 0.01, 0.4});
  CHECK(max_difference(one.map(z, s, t), g.map(z, s, t)) < 1e-9);
  CHECK(max_difference(one.map(z, t, t), z) == 0);
  CHECK(max_difference(one.map(z.to(DType::f32), s, t).to(DType::f64), g.map(z, s, t)) < 1e-5);
  CHECK(one.map(z.to(DType::f32), s, t).dtype() == DType::f32);
  CHECK(one.map(z.reshape({9, 1, dim}), s, t).shape() == Shape{9, 1, dim});
}

TEST_CASE("the map of a mixture integrates its velocity, is inverted by the backward map, and is of fourth order") {
  const Tensor z = some_points(), s = all(40, 0), t = all(40, 1);
  const Tensor by_network = z - evaluate(average_velocity(three().v(), 50), z, s, t, {});
  CHECK(max_difference(three().map(z, s, t, 50), by_network) < 1e-12);
  const Tensor exact = three().map(z, s, t, 1600);
  CHECK(max_difference(three().map(three().map(z, s, t), t, s), z) < 1e-8);
  const double coarse = norm(three().map(z, s, t, 50) - exact), fine = norm(three().map(z, s, t, 100) - exact);
  CHECK(near(coarse / fine, 16, 0.3));
  CHECK(norm(three().map(z, s, t) - exact) < 1e-8);
}

// log p_1(e) = log p_0(f(e)) + log |det df/de|, the determinant by central differences.
TEST_CASE("the map from noise to data preserves probability") {
  const std::int64_t n = 40;
  const Tensor e = some_points(n), s = all(n, 0), t = all(n, 1);
  const double h = 1e-4;
  std::vector<Tensor> columns;
  for (int d = 0; d < 2; ++d) {
    const Tensor shift = Tensor::zeros({2}, DType::f64);
    shift.slice(0, d, d + 1).fill(h);
    columns.push_back((three().map(e + shift, s, t) - three().map(e - shift, s, t)) / (2 * h));
  }
  const Tensor determinant = columns[0].select(1, 0) * columns[1].select(1, 1) - columns[0].select(1, 1) * columns[1].select(1, 0);
  const Tensor before = three().log_density(e, t).value(), after = three().log_density(three().map(e, s, t), s).value();
  CHECK(max_difference(before, after + log(determinant)) < 1e-5);
}

TEST_CASE("the mixture of eight Gaussians matches the point set: centers, deviation, and the exact map of noise onto its points") {
  const GaussianMixture mixture = eight_gaussians();
  REQUIRE(mixture.components.size() == 8);
  for (std::size_t k = 0; k < 8; ++k) {
    const auto centre = eight_gaussians_centres()[k];
    CHECK(max_difference(mixture.components[k].mean, Tensor::from<double>({centre[0], centre[1]}, {2})) < 1e-15);
    CHECK(max_difference(mixture.components[k].deviation, Tensor::full({2}, eight_gaussians_deviation, DType::f64)) == 0);
  }
  const Points data({}, Split::test);
  const std::int64_t n = 2000;
  const Tensor noise = random_normal({n, 2}, {4, 4}, 0, DType::f64), mapped = mixture.map(noise, all(n, 0), all(n, 1), 100);
  CHECK(near_zero(energy_distance(mapped, data.rows(consecutive(0, n))), 3e-3));
  CHECK(energy_distance(noise, data.rows(consecutive(0, n))) > 0.04);
}

TEST_CASE("the error of a map is 0 for the exact map and the mean square distance for others") {
  const Tensor noise = some_points();
  CHECK(map_error(average_velocity(three().v(), 400), three(), noise) < 1e-20);
  const FlowMapNet still = [](const Var& z, const Var&, const Var&, const Labels&) { return z * 0.0; };
  CHECK(near(map_error(still, three(), noise), mean_square_distance(noise, three().map(noise, all(40, 0), all(40, 1))), 1e-14));
  const FlowMapNet in_f32 = average_velocity(eight_gaussians(DType::f32).v(), 200);
  CHECK(map_error(in_f32, eight_gaussians(), noise.to(DType::f32)) < 1e-6);
}

TEST_CASE("invalid mixtures are refused") {
  const Tensor z = Tensor::zeros({1, 2}, DType::f64), t = Tensor::zeros({1}, DType::f64);
  CHECK_THROWS_WITH_AS(GaussianMixture{}.v(), "a Gaussian mixture has no components: add at least one", ConfigError);
  GaussianMixture m = three();
  m.components[1].weight = 0;
  CHECK_THROWS_WITH_AS(m.v(), "a Gaussian mixture: component 1 has the weight 0.000000; it must be above 0", ConfigError);
  m = three();
  m.components[2].deviation = Tensor::zeros({2}, DType::f64);
  CHECK_THROWS_WITH_AS(m.log_density(z, t), "a Gaussian mixture: component 2 has the deviation 0.000000; it must be above 0", ConfigError);
  m = three();
  m.components[1].mean = Tensor::zeros({3}, DType::f64);
  CHECK_THROWS_AS(m.map(z, t, t), ConfigError);
  CHECK_THROWS_AS(three().map(z, t, t, 0), ShapeError);
  CHECK_THROWS_AS(three().map(Tensor::zeros({1, 3}, DType::f64), t, t), ShapeError);
  CHECK_THROWS_AS(three().map(z, Tensor::zeros({2}, DType::f64), t), ShapeError);
}
