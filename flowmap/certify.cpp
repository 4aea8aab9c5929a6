#include "flowmap/certify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/tape.h"
#include "flowmap/gaussian.h"
#include "flowmap/path.h"
#include "nn/layers/embedding.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr TrainingStep the_end{999999, 1000000};                       // the last step of a training of 1,000,000 steps
struct Times {
  double s, t;
};

// Data (n, 1) and noise (n, 1) with their weights, which add up to 1.
struct Points {
  std::vector<double> z0, eps, weight;

  std::int64_t rows() const { return std::ssize(z0); }
  void add(const Quadrature& of_data, const Quadrature& of_noise, double mean, double deviation, double share) {
    for (std::size_t i = 0; i < of_data.nodes.size(); ++i)
      for (std::size_t j = 0; j < of_noise.nodes.size(); ++j) {
        z0.push_back(mean + deviation * of_data.nodes[i]), eps.push_back(of_noise.nodes[j]);
        weight.push_back(share * of_data.weights[i] * of_noise.weights[j]);
      }
  }
};

// The distribution of one number: its flow map, its velocity and the points of its quadrature.
struct Law {
  FlowMapNet u;
  VelocityNet v;
  Points points;
};

Tensor rows_of(const std::vector<double>& x) { return Tensor::from(x, {std::ssize(x), 1}); }

Law one_gaussian() {
  constexpr double mean = 0.4, deviation = 0.6;
  const GaussianFlow g{Tensor::from<double>({mean}, {1}), Tensor::from<double>({deviation}, {1})};
  Law law{g.u(), g.v(), {}};
  const Quadrature q = normal_quadrature(48);
  law.points.add(q, q, mean, deviation, 1);
  return law;
}

// A mixture of two Gaussians, for which the posterior of eps - z0 is skewed. With `jumps`, u is integrated from v in f64, with an error of
// 1e-7. Without `jumps`, u is v, which is exact only at s = t. Between modes that are far apart the map is too steep for quadrature, so with `jumps` the
// modes must be near each other.
Law two_gaussians(double low, double high, double deviation, double low_share, int nodes, bool jumps) {
  constexpr int flow_steps = 16;
  GaussianMixture mixture;
  Law law;
  const Quadrature q = normal_quadrature(nodes);
  for (const auto& [share, mean] : {std::pair{low_share, low}, {1 - low_share, high}}) {
    mixture.components.push_back({share, Tensor::from<double>({mean}, {1}), Tensor::from<double>({deviation}, {1})});
    law.points.add(q, q, mean, deviation, share);
  }
  law.v = mixture.v();
  if (jumps) law.u = average_velocity(law.v, flow_steps);
  else law.u = [v = law.v](const Var& z, const Var&, const Var& t, const Labels& y) { return v(z, t, y); };
  return law;
}

Var phi(const Var& z, const Var& s, const Var& t) {
  const Var x = reshape(z, {z.dim(0)});
  const Var wave = reshape(slice(sines_and_cosines(1.3 * x + 0.4, Tensor::ones({1}, DType::f64)), 1, 0, 1), {z.dim(0)});
  return reshape(wave + 0.3 * square(x) + 0.2 * ((t - s) * x) + 0.1 * t, z.shape());
}

// u + theta_i phi in row i. A call on fewer rows uses the first thetas. A call on twice the rows (all with labels, then all without) uses each theta twice.
FlowMapNet perturbed(const FlowMapNet& u, const Parameter& theta) {
  return [&theta, u](const Var& z, const Var& s, const Var& t, const Labels& y) {
    const std::int64_t rows = z.dim(0), all = theta.value.dim(0);
    const Var own = rows == all ? Var(theta) : rows == 2 * all ? concat(std::vector<Var>{theta, theta}, 0) : slice(Var(theta), 0, 0, rows);
    return u(z, s, t, y) + column(own, z.rank()) * phi(z, s, t);
  };
}

Nets nets_of(const FlowMapNet& net, const FlowMapNet& map, const VelocityNet& v, const VelocitySource& w) {
  Nets out{.net = net, .target = map, .teacher = v, .velocity = w, .shape = {1}, .dtype = DType::f64};
  out.log_variance = [](const Tensor&, const Tensor& t) { return Var(Tensor::zeros(t.shape(), t.dtype())); };
  return out;
}

// Returns for each row the gradient of the row's loss with respect to the row's theta. The loss is a mean over rows, so its gradients are multiplied by
// the number of rows.
std::vector<double> row_gradients(const Objective& objective, const Law& law, const Drawn& drawn, double at = 0) {
  const std::int64_t rows = drawn.p.rows();
  Parameter theta{Tensor::full({rows}, at, DType::f64)};
  const Nets nets = nets_of(perturbed(law.u, theta), law.u, law.v, one_point());
  Tape tape;
  Gradients g = backward(objective.loss(nets, drawn).loss);
  std::vector<double> out = g[theta].to_vector<double>();
  for (double& x : out) x *= static_cast<double>(rows);
  return out;
}

// Places all rows at the same two times. The rows share a sample number, and therefore all other random numbers.
PathBatch at_times(const Points& points, const Times& times, bool labels) {
  const std::int64_t rows = points.rows();
  PathBatch p;
  p.z0 = rows_of(points.z0), p.eps = rows_of(points.eps);
  p.s = Tensor::full({rows}, times.s, DType::f64), p.t = Tensor::full({rows}, times.t, DType::f64);
  p.z = interpolate(p.z0, p.eps, p.t);
  if (labels) p.y = Tensor::zeros({rows}, DType::i64);
  p.off_diagonal = times.s < times.t ? rows : 0;
  p.draws = {3, 0, Samples(static_cast<std::size_t>(rows), 7)};
  return p;
}

std::vector<Bias> expected_gradients(const Objective& objective, const Law& law, const std::vector<Times>& pairs, double at = 0) {
  std::vector<Bias> out;
  for (const Times& times : pairs) {
    const std::vector<double> g = row_gradients(objective, law, objective.complete(at_times(law.points, times, objective.needs.labels), the_end), at);
    out.push_back({times.s, times.t, std::abs(std::inner_product(g.begin(), g.end(), law.points.weight.begin(), 0.0))});
  }
  return out;
}

// Adds mean gradients over random data and noise to `out`, for objectives whose rows form groups. Each pair of times has its own mean, because biases of
// opposite sign would cancel in a joint mean.
void sample_gradients(const Objective& objective, const Law& law, const std::vector<Times>& pairs, Certificate& out) {
  constexpr std::int64_t groups = 16384;
  const std::int64_t group = objective.needs.group, rows = groups * group;
  const Draws draws{5, 0, consecutive(0, rows)};
  const Tensor z0 = 0.4 + 0.6 * draws.normal({1}, DType::f64, Purpose::sampling);
  const Points points{z0.to_vector<double>(), draws.normal({1}, DType::f64).to_vector<double>(), {}};
  for (const Times& times : pairs) {
    const std::vector<double> g = row_gradients(objective, law, objective.complete(at_times(points, times, objective.needs.labels), the_end));
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < groups; ++i) {
      const auto first = g.begin() + i * group;
      const double mean = std::accumulate(first, first + group, 0.0) / static_cast<double>(group);
      sum += mean, squares += mean * mean;
    }
    const double n = groups, mean = sum / n;
    out.gaussian.push_back({times.s, times.t, std::abs(mean)});
    out.error = std::max(out.error, std::sqrt((squares / n - mean * mean) / n));
  }
}

// Returns `any`, with every s replaced by 0 if the objective trains only jumps to data.
std::vector<Times> pairs_for(const Objective& objective, const std::vector<Times>& any) {
  if (objective.needs.jumps != Jumps::to_data) return any;
  std::vector<Times> out;
  for (const Times& times : any) out.push_back({0, times.t});
  return out;
}

std::vector<Times> gaussian_times(const Objective& objective) {
  return pairs_for(objective, {{0, 0.9}, {0.2, 0.7}, {0.5, 0.55}, {0.1, 0.95}, {0, 0.3}, {0.6, 0.6}});
}

}  // namespace

double largest_residual(const Objective& objective) {
  const GaussianFlow g{Tensor::from<double>({0.3, -0.7, 1.1}, {3}), Tensor::from<double>({0.5, 0.8, 1.3}, {3})};
  const Draws draws{9, 0, consecutive(0, 4096)};
  Batch batch{{}, {}, draws};
  if (objective.needs.labels) batch.y = Tensor::zeros({4096}, DType::i64);
  if (objective.needs.data) batch.z0 = g.mean + g.deviation * draws.normal({3}, DType::f64, Purpose::sampling);
  Nets nets = nets_of(g.u(), g.u(), g.v(), teacher(g.v()));
  nets.shape = {3};
  const std::vector<double> raw = objective.loss(nets, objective.draw(batch, nets, the_end)).raw.to_vector<double>();
  return *std::max_element(raw.begin(), raw.end());
}

std::vector<Bias> bias_on_gaussian(const Objective& objective) { return expected_gradients(objective, one_gaussian(), gaussian_times(objective)); }

double gradient_scale(const Objective& objective) {
  return std::min(1.0, largest(expected_gradients(objective, one_gaussian(), gaussian_times(objective), 0.1)));
}

std::vector<Bias> bias_on_mixture(const Objective& objective) {
  std::vector<Bias> out;
  const bool to_data = objective.needs.jumps == Jumps::to_data;
  if (!to_data) out = expected_gradients(objective, two_gaussians(-1.5, 1.5, 0.3, 0.2, 80, false), {{0.3, 0.3}, {0.5, 0.5}, {0.8, 0.8}});
  // The jump to data begins at 0.4: from 0.8, quadrature with 40 nodes would have an error of 2e-5.
  const std::vector<Times> jumps{to_data ? Times{0, 0.4} : Times{0.4, 0.8}};
  for (const Bias& jump : expected_gradients(objective, two_gaussians(-1, 1.2, 0.9, 0.25, 40, true), jumps)) out.push_back(jump);
  return out;
}

Certificate certify(const Objective& objective) {
  Certificate out;
  out.residual = largest_residual(objective);
  if (objective.needs.group > 1) return sample_gradients(objective, one_gaussian(), {{0, 0.9}, {0.2, 0.7}, {0.1, 0.3}}, out), out;
  if (!objective.needs.velocity) return out;
  out.gaussian = bias_on_gaussian(objective), out.mixture = bias_on_mixture(objective), out.scale = gradient_scale(objective);
  return out;
}

Objective without_clamps(ObjectiveConfig config, const std::string& name) {
  const auto open = [](auto& entry) {
    if constexpr (requires { entry.clamp; }) entry.clamp = 0;
  };
  config.name = name;
  std::apply([&](auto&... entry) { (open(entry), ...); }, config.entries);
  return config.chosen("map.objective");
}

std::vector<std::pair<std::string, Objective>> negative_controls() {
  MeanFlowConfig adaptive, pulled;
  adaptive.metric = {"adaptive", "sum", 1, 1};
  pulled.tangent.normalise = 1;
  EsdConfig along_noise;
  along_noise.velocity = "source";
  std::vector<std::pair<std::string, Objective>> out{{"adaptive mean_flow", make_objective(adaptive)}, {"normalized mean_flow", make_objective(pulled)},
                                                       {"esd along w", make_objective(along_noise)}};
  for (auto& [name, objective] : out) objective.claims = {};
  return out;
}

double largest(const std::vector<Bias>& found) {
  double out = 0;
  for (const Bias& b : found) out = std::max(out, std::isfinite(b.gradient) ? b.gradient : INFINITY);
  return out;
}

std::string contradiction(const Claims& claims, const Certificate& found) {
  const double gaussian = largest(found.gaussian), mixture = largest(found.mixture);
  const auto gradients = [&] { return fmt::format("its expected gradient at the true map is {:.3g} on a Gaussian, {:.3g} on a mixture", gaussian, mixture); };
  if (claims.exact && !found.exact()) return fmt::format("claims no residual at the true map, but its largest mean square there is {:.3g}", found.residual);
  if (found.gaussian.empty()) return "";
  if (found.scale == 0) return "has no gradient at theta = 0.1, where the map is wrong: it trains nothing";
  if (claims.unbiased && !found.unbiased()) return "claims no bias, but " + gradients();
  if (!claims.unbiased && found.error == 0 && !found.biased()) return "claims a bias, but " + gradients();
  return "";
}

// Finds the Gauss-Hermite nodes for the weight exp(-x^2) by Newton's method on the orthonormal Hermite polynomials (Press et al., "Numerical Recipes", 4.5).
// Guesses for all nodes but the largest are extrapolated from the nodes before. Nodes and weights are then scaled to N(0, 1).
Quadrature normal_quadrature(int n) {
  if (n < 1 || n > 200) throw ConfigError(fmt::format("normal_quadrature: {} nodes; 1 to 200 are possible", n));
  std::vector<double> x, w;                        // the positive roots, largest first, for the weight exp(-x^2)
  double z = 0;
  for (int i = 0; i < (n + 1) / 2; ++i) {
    const auto root = [&](int k) { return x[static_cast<std::size_t>(k)]; };
    if (i == 0) z = std::sqrt(2.0 * n + 1) - 1.85575 * std::pow(2.0 * n + 1, -1.0 / 6);
    else if (i == 1) z -= 1.14 * std::pow(n, 0.426) / z;
    else if (i == 2) z = 1.86 * z - 0.86 * root(0);
    else if (i == 3) z = 1.91 * z - 0.91 * root(1);
    else z = 2 * z - root(i - 2);
    double slope = 1;
    for (int k = 0; k < 100; ++k) {
      double p = std::pow(std::numbers::pi, -0.25), before = 0;
      for (int j = 0; j < n; ++j) {
        const double next = z * std::sqrt(2.0 / (j + 1)) * p - std::sqrt(static_cast<double>(j) / (j + 1)) * before;
        before = p, p = next;
      }
      slope = std::sqrt(2.0 * n) * before;
      const double step = p / slope;
      z -= step;
      if (std::abs(step) < 1e-15 * std::max(1.0, std::abs(z))) break;
    }
    x.push_back(z), w.push_back(2 / (slope * slope));
  }
  Quadrature out;
  const double scale = std::sqrt(2.0), mass = std::sqrt(std::numbers::pi);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool middle = n % 2 == 1 && i + 1 == x.size();
    out.nodes.push_back(middle ? 0 : scale * x[i]), out.weights.push_back(w[i] / mass);
    if (!middle) out.nodes.push_back(-scale * x[i]), out.weights.push_back(w[i] / mass);
  }
  return out;
}

}  // namespace fm
