// Improved MeanFlow: its formula, the gradient paths, and its expected gradient for noisy targets, by quadrature.
#include "flowmap/objective/improved_mean_flow.h"

#include <cmath>

#include "autodiff/jvp.h"
#include "flowmap/objective/mean_flow.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

PathBatch points(std::int64_t rows, double diagonal = 0.5) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, {0, 4}); }

// Nodes and weights for the standard normal distribution: sum_i w_i f(x_i) = E f, exact for polynomials of degree 2 n - 1. The weight of a root of
// the orthonormal polynomial p_n is 1 / sum_{j<n} p_j^2, and p_{j+1} = (x p_j - sqrt(j) p_{j-1}) / sqrt(j+1).
struct Quadrature {
  std::vector<double> x, w;
};

Quadrature normal_quadrature(int n) {
  const auto polynomials = [n](double x) {
    std::vector<double> p{1, x};
    for (int j = 1; j < n; ++j) p.push_back((x * p[std::size_t(j)] - std::sqrt(j) * p[std::size_t(j) - 1]) / std::sqrt(j + 1));
    return p;
  };
  Quadrature q;
  const double end = 2 * std::sqrt(n + 1.0), step = 1e-3;
  for (double a = -end; a < end; a += step) {
    double low = a, high = a + step;
    if ((polynomials(low).back() < 0) == (polynomials(high).back() < 0)) continue;
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (low + high);
      ((polynomials(low).back() < 0) == (polynomials(middle).back() < 0) ? low : high) = middle;
    }
    const std::vector<double> p = polynomials(0.5 * (low + high));
    double sum = 0;
    for (int j = 0; j < n; ++j) sum += p[std::size_t(j)] * p[std::size_t(j)];
    q.x.push_back(0.5 * (low + high)), q.w.push_back(1 / sum);
  }
  return q;
}

// The map u + theta phi, where u is the true map of data N(0.4, 0.6^2). Each row has its own theta, so one backward pass gives the gradient of every
// row's loss.
struct Disturbed {
  Parameter theta;
  GaussianFlow flow{Tensor::from<double>({0.4}, {1}), Tensor::from<double>({0.6}, {1})};

  explicit Disturbed(std::int64_t rows) : theta{Tensor::zeros({rows, 1}, DType::f64)} {}
  FlowMapNet net() const {
    return [this](const Var& z, const Var& s, const Var& t, const Labels& y) {
      const Var gap = column(t - s, 2), phi = sin(1.3 * z + 0.4) + 0.3 * square(z) + 0.2 * (gap * z) + 0.1 * column(t, 2);
      return flow.u()(z, s, t, y) + Var(theta) * phi;
    };
  }
};

// All pairs of nodes for (z0, eps) at one (s, t), and their weights.
struct Nodes {
  PathBatch p;
  std::vector<double> weights;
};

Nodes nodes_at(const Quadrature& q, double s, double t) {
  std::vector<double> z0, eps;
  Nodes out;
  for (std::size_t i = 0; i < q.x.size(); ++i)
    for (std::size_t j = 0; j < q.x.size(); ++j) z0.push_back(0.4 + 0.6 * q.x[i]), eps.push_back(q.x[j]), out.weights.push_back(q.w[i] * q.w[j]);
  const std::int64_t n = std::ssize(z0);
  out.p.z0 = Tensor::from(z0, {n, 1}), out.p.eps = Tensor::from(eps, {n, 1});
  out.p.s = Tensor::full({n}, s, DType::f64), out.p.t = Tensor::full({n}, t, DType::f64);
  out.p.z = interpolate(out.p.z0, out.p.eps, out.p.t);
  out.p.off_diagonal = n;
  return out;
}

// E d loss / d theta at the true map. The loss is a mean over n rows, so each row's gradient is multiplied by n and by the row's weight.
template <class Loss> double expected_gradient(const Quadrature& q, double s, double t, const Loss& loss) {
  const Nodes nodes = nodes_at(q, s, t);
  const Disturbed map(nodes.p.rows());
  Tape tape;
  const Gradients gradients = backward(loss(map.net(), nodes.p));
  const std::vector<double> g = gradients[map.theta].to_vector<double>();
  double total = 0;
  for (std::size_t i = 0; i < g.size(); ++i) total += nodes.weights[i] * g[i] * static_cast<double>(g.size());
  return total;
}

// |u + sign (t-s) du/dt - w|^2 with du/dt along `direction`, which may be a wrong one. The gradient passes through du/dt.
Var by_hand(const FlowMapNet& net, const PathBatch& p, const Tensor& direction, double sign) {
  const auto [u, dudt] = jvp_taped([&](const Var& z, const Var& a, const Var& b) { return net(z, a, b, {}); }, at(p.z, p.s, p.t),
                                   along(direction, zero, Tensor::ones({p.rows()}, DType::f64)));
  return measure(u + sign * (column(p.t - p.s, 2) * dudt) - one_point()(p), {}).loss;
}

const std::vector<std::pair<double, double>> pairs{{0, 0.9}, {0.2, 0.7}, {0.5, 0.55}, {0.1, 0.95}, {0, 0.3}};

}  // namespace

TEST_CASE("the loss is the mean square of u + (t - s) du/dt - w, with du/dt along the network's own velocity") {
  const SmallNet small;
  const PathBatch p = points(12);
  const std::int64_t k = p.off_diagonal;
  REQUIRE(k > 0);
  REQUIRE(k < 12);
  const auto u = [&](double h) {
    const Tensor v = evaluate(small.net(), p.z, p.t, p.t, p.y);
    return evaluate(small.net(), p.z + h * v, p.s, p.t + h, p.y);
  };
  const double h = 1e-3;
  const Tensor dudt = ((u(h) - u(-h)) * 8.0 - (u(2 * h) - u(-2 * h))) / (12 * h), residual = u(0) + column(p.t - p.s, 2) * dudt - one_point()(p);
  for (const bool through : {false, true}) {
    const ObjectiveLoss out = improved_mean_flow(small.net(), p, one_point(), {.through_derivative = through});
    CHECK(near(out.loss.value().item(), mean(square(residual)).item(), 1e-10));
    CHECK(out.derivative_ratio.dim(0) == k);
  }
}

TEST_CASE("with the network's own velocity as w, the gradient is that of MeanFlow with the same w") {
  const SmallNet small;
  const PathBatch p = points(12);
  const VelocitySource own = teacher(diagonal(small.net()));
  for (const std::string kind : {"jvp", "central", "semi"}) {
    const auto a = gradient(small, [&] { return improved_mean_flow(small.net(), p, own, {.derivative = {kind}}).loss; });
    const auto b = gradient(small, [&] { return mean_flow(small.net(), p, own, {.derivative = {kind}}).loss; });
    CHECK(max_difference(a, b) < 1e-14);
    CHECK(max_difference(a, gradient(small, [&] { return mean_flow(small.net(), p, one_point(), {.derivative = {kind}}).loss; })) > 1e-2);
  }
  const auto semi = gradient(small, [&] { return improved_mean_flow(small.net(), p, own, {}).loss; });
  CHECK(max_difference(semi, gradient(small, [&] { return improved_mean_flow(small.net(), p, own, {.through_derivative = true}).loss; })) > 1e-3);
}

TEST_CASE("at the true map the expected gradient is 0 for noisy w, also through du/dt; with du/dt along w it is not 0") {
  const Quadrature q = normal_quadrature(40);
  REQUIRE(q.x.size() == 40);
  double of_one = 0, fourth = 0;
  for (std::size_t i = 0; i < 40; ++i) of_one += q.w[i], fourth += q.w[i] * std::pow(q.x[i], 4);
  CHECK(near(of_one, 1, 1e-13));
  CHECK(near(fourth, 3, 1e-12));
  double along_w = 0, wrong_sign = 0;
  for (const auto& pair : pairs) {
    const double s = pair.first, t = pair.second;
    CAPTURE(s);
    CAPTURE(t);
    for (const bool through : {false, true})
      CHECK(near_zero(expected_gradient(q, s, t, [&](const FlowMapNet& net, const PathBatch& p) {
        return improved_mean_flow(net, p, one_point(), {.through_derivative = through}).loss; }), 1e-11));
    along_w = std::max(along_w, std::abs(expected_gradient(q, s, t, [](const FlowMapNet& net, const PathBatch& p) {
      return by_hand(net, p, one_point()(p), 1);               // MeanFlow's direction, with a gradient through it
    })));
    wrong_sign = std::max(wrong_sign, std::abs(expected_gradient(q, s, t, [](const FlowMapNet& net, const PathBatch& p) {
      return by_hand(net, p, teacher(diagonal(net))(p), -1);
    })));
  }
  CHECK(wrong_sign > 0.1);
  CHECK(along_w > 0.5);
}

TEST_CASE("guidance adds (1 - 1/omega) (v - v_null) to w inside its interval; du/dt is taken along the labeled velocity") {
  const SmallNet small;
  const PathBatch p = draw_path_batch(gaussian_batch(16), {.diagonal_share = 0.5}, {0.3, 4});
  const Tensor v = evaluate(small.net(), p.z, p.t, p.t, p.y), null = evaluate(small.net(), p.z, p.t, p.t, null_labels(p.y, 4));
  const Tensor mask = column((1.0 - greater(p.t, Tensor::scalar(0.6, DType::f64))) * (1.0 - less(p.t, Tensor::scalar(0.1, DType::f64))), 2);
  const Tensor w = one_point()(p) + mask * ((1 - 1 / 2.5) * (v - null));                // v = null where the label was dropped
  const auto u = [&](double h) { return evaluate(small.net(), p.z + h * v, p.s, p.t + h, p.y); };
  const double h = 1e-3;
  const Tensor dudt = ((u(h) - u(-h)) * 8.0 - (u(2 * h) - u(-2 * h))) / (12 * h), residual = u(0) + column(p.t - p.s, 2) * dudt - w;
  REQUIRE(sum(mask).item() > 2);
  REQUIRE(sum(mask).item() < 14);
  const ImprovedMeanFlowConfig config{.omega = 2.5, .low = 0.1, .high = 0.6, .labels = {0.3, 4}};
  CHECK(near(improved_mean_flow(small.net(), p, one_point(), config).loss.value().item(), mean(square(residual)).item(), 1e-10));
  CHECK(config.needs().labels);
  CHECK(near(config.needs().passes, 2.25, 1e-15));
  CHECK(!ImprovedMeanFlowConfig().needs().labels);
  CHECK(near(ImprovedMeanFlowConfig().needs().passes, 0.5, 1e-15));

  double own = 0;                                              // the velocity with the label, which its target replaces 200 times; without the label the velocity is -0.5
  const VelocityNet of_label = [&](const Var&, const Var&, const Labels& y) {
    std::vector<double> out;
    for (const std::int64_t label : y.to_vector<std::int64_t>()) out.push_back(label == 4 ? -0.5 : own);
    return Var(Tensor::from(out, {y.dim(0), 1}));
  };
  PathBatch one;
  one.z = Tensor::zeros({1, 1}, DType::f64), one.t = Tensor::full({1}, 0.3, DType::f64), one.y = Tensor::from<std::int64_t>({2}, {1});
  const VelocitySource given = [](const PathBatch&) { return Tensor::full({1, 1}, 1.5, DType::f64); };
  for (int i = 0; i < 200; ++i) own = self_guided(of_label, given, config.guidance())(one).item();
  CHECK(near(own, -0.5 + 2.5 * 2, 1e-12));                     // guidance of scale 2.5
  CHECK(error_of<ConfigError>([] { make_objective(ImprovedMeanFlowConfig{.low = 0.7, .high = 0.6}, "i").check(10); }) ==
        "i.low = 0.7 is above i.high = 0.6: no time would be guided. Lower the first or raise the second");
  CHECK(has(error_of<ConfigError>([] { make_objective(ImprovedMeanFlowConfig{.omega = 2, .labels = {.probability = 0}}, "i").check(10); }), "with i.labels.probability = 0"));
  CHECK_NOTHROW(make_objective(ImprovedMeanFlowConfig{.labels = {.probability = 0}}, "i").check(10));
}

TEST_CASE("a gradient through a finite difference is refused before the first step") {
  ImprovedMeanFlowConfig config{.through_derivative = true, .derivative = {"central"}};
  CHECK(has(error_of<ConfigError>([&] { make_objective(config, "map.objective.improved_mean_flow").check(10); }),
            "map.objective.improved_mean_flow.derivative.kind = central: gradients can pass only through an exact derivative: choose jvp, or set"));
  CHECK_THROWS_AS(improved_mean_flow(SmallNet().net(), points(4), one_point(), config), ConfigError);
  CHECK(near(config.needs().taped_tangent, 0.25, 1e-15));
  CHECK(near(config.needs().passes, 1, 1e-15));                // a quarter of the rows needs 4 passes more: 1 for the own velocity, 3 for a taped tangent
  config.through_derivative = false;
  CHECK(config.needs().taped_tangent == 0);
  CHECK(near(config.needs().passes, 0.75, 1e-15));             // a quarter of the rows needs 3 passes more: 1 for the own velocity, 2 for the sides of a difference
}
