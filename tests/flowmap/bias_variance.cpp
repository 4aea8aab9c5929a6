// Proposition 3.1 of MF-RAE, checked by quadrature: the loss is the sum of the measured bias and variance, for any network, teacher and lambda.
#include "flowmap/bias_variance.h"

#include <doctest/doctest.h>

#include <numeric>

#include "autodiff/rules/activation.h"
#include "flowmap/certify.h"
#include "flowmap/gaussian.h"
#include "flowmap/objective/mean_flow.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double mean_of_data = 0.4, deviation = 0.6;

GaussianFlow flow() { return {Tensor::from<double>({mean_of_data}, {1}), Tensor::from<double>({deviation}, {1})}; }

// The nodes of a quadrature rule over data and noise at the times s and t. Each node is a row and has a weight.
struct Nodes {
  PathBatch p;
  std::vector<double> weights;
};
Nodes nodes(double s, double t) {
  const Quadrature q = normal_quadrature(24);
  std::vector<double> z0, eps;
  Nodes out;
  for (std::size_t i = 0; i < q.nodes.size(); ++i)
    for (std::size_t j = 0; j < q.nodes.size(); ++j) {
      z0.push_back(mean_of_data + deviation * q.nodes[i]), eps.push_back(q.nodes[j]);
      out.weights.push_back(q.weights[i] * q.weights[j]);
    }
  const std::int64_t rows = std::ssize(z0);
  out.p.z0 = Tensor::from(z0, {rows, 1}), out.p.eps = Tensor::from(eps, {rows, 1});
  out.p.s = Tensor::full({rows}, s, DType::f64), out.p.t = Tensor::full({rows}, t, DType::f64);
  out.p.z = interpolate(out.p.z0, out.p.eps, out.p.t);
  out.p.off_diagonal = rows;
  return out;
}

PathBatch row(const PathBatch& p, std::int64_t i) {
  const auto cut = [&](const Tensor& x) { return x.slice(0, i, i + 1); };
  return {cut(p.z0), cut(p.eps), cut(p.z), cut(p.s), cut(p.t), {}, 1, {}};
}

// A network that is not the flow map and not linear in z.
FlowMapNet network() {
  return [](const Var& z, const Var& s, const Var& t, const Labels&) { return tanh(0.8 * z + 0.3) * column(t + 0.2 * s + 0.5, 2) + 0.1 * z * column(t - s, 2); };
}
VelocityNet poor_teacher() {
  return [exact = flow().v()](const Var& z, const Var& t, const Labels& y) { return exact(z, t, y) + 0.3 * tanh(z - 0.2) + 0.1; };
}

}  // namespace

TEST_CASE("the loss of a blended target is bias plus variance, for every lambda") {
  const Nodes n = nodes(0.2, 0.7);
  const VelocityNet v = flow().v(), poor = poor_teacher();
  const FlowMapNet h = network();
  double noise = 0, teacher_bias = 0, own = 0;
  for (std::int64_t i = 0; i < n.p.rows(); ++i) {
    const BiasVariance of = bias_variance(h, row(n.p, i), v, poor, flow().u());
    const double weight = n.weights[static_cast<std::size_t>(i)];
    noise += weight * of.noise, teacher_bias += weight * of.teacher, own += weight * of.own;
  }
  for (const double lambda : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    CAPTURE(lambda);
    const VelocitySource w = blend(lambda, teacher(poor));
    // The whole loss: the objective's residual, with the noise of eps - z0.
    const std::vector<double> raw = mean_flow(h, n.p, w, MeanFlowConfig{}).raw.to_vector<double>();
    const double loss = std::inner_product(raw.begin(), raw.end(), n.weights.begin(), 0.0);
    // The bias: the residual of the mean target, which has v in place of eps - z0.
    const VelocitySource mean_w = [&](const PathBatch& p) { return (1 - lambda) * evaluate(v, p.z, p.t, p.y) + lambda * evaluate(poor, p.z, p.t, p.y); };
    const std::vector<double> learned = mean_flow(h, n.p, mean_w, MeanFlowConfig{}).raw.to_vector<double>();
    const double bias = std::inner_product(learned.begin(), learned.end(), n.weights.begin(), 0.0);
    CHECK(near(loss, bias + (1 - lambda) * (1 - lambda) * noise, 3e-8));        // up to the quadrature's error
  }
  CHECK(teacher_bias > 1e-3);
  CHECK(own > 1e-3);
}

TEST_CASE("at the true map, the network and an exact teacher add no bias; the terms scale with lambda") {
  const Nodes n = nodes(0.1, 0.9);
  const BiasVariance at_truth = bias_variance(flow().u(), n.p, flow().v(), flow().v(), flow().u());
  CHECK(at_truth.own < 1e-28);
  CHECK(at_truth.teacher < 1e-28);
  const BiasVariance poor = bias_variance(network(), n.p, flow().v(), poor_teacher(), flow().u());
  CHECK(poor.variance(0) == poor.noise);
  CHECK(poor.variance(1) == 0);
  CHECK(near(poor.variance(0.25), 0.5625 * poor.noise, 1e-14));
  CHECK(near(poor.bias(0.5), 0.25 * poor.teacher, 1e-14));
  CHECK(std::isnan(bias_variance(network(), n.p, flow().v(), poor_teacher()).own));
}

TEST_CASE("a batch with rows of s = t is refused") {
  Nodes n = nodes(0.1, 0.9);
  n.p.off_diagonal = 3;
  CHECK(error_of<ConfigError>([&] { bias_variance(network(), n.p, flow().v(), poor_teacher()); }) == "bias_variance: the batch has rows with s = t; every row must have s < t");
}
