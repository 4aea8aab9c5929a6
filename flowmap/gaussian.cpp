#include "flowmap/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "flowmap/metrics/energy.h"
#include "flowmap/path.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

// a_t for a time column (B, 1, ..., 1) and variances of a row's shape
Var scale_at(const Var& t, const Tensor& variance) { return sqrt(square(1.0 - t) * variance + square(t)); }

Var average_velocity_of(const Tensor& mean, const Tensor& deviation, const Var& z, const Var& s_rows, const Var& t_rows) {
  const Var s = column(s_rows, z.rank()), t = column(t_rows, z.rank());
  const Tensor variance = square(deviation);
  const Var a_s = scale_at(s, variance), a_t = scale_at(t, variance);
  const Var x = z - (1.0 - t) * mean;
  return x * (t + s - variance * (2.0 - t - s)) / (a_t * (a_t + a_s)) - mean;
}

// log N(z; (1-t) mean, a_t^2) up to a constant: (B)
Var log_bell(const GaussianMixture::Component& c, const Var& z, const Var& t_rows) {
  const Var t = column(t_rows, z.rank()), a = scale_at(t, square(c.deviation));
  return row_sums(-0.5 * square((z - (1.0 - t) * c.mean) / a) - log(a));
}

void check(const std::vector<GaussianMixture::Component>& components) {
  if (components.empty()) throw ConfigError("a Gaussian mixture has no components: add at least one");
  for (std::size_t i = 0; i < components.size(); ++i) {
    const GaussianMixture::Component& c = components[i];
    const std::string name = "a Gaussian mixture: component " + std::to_string(i);
    if (!(c.weight > 0) || !std::isfinite(c.weight)) throw ConfigError(name + " has the weight " + std::to_string(c.weight) + "; it must be above 0");
    if (c.mean.shape() != components[0].mean.shape() || c.deviation.shape() != c.mean.shape())
      throw ConfigError(name + " has a mean of shape " + to_string(c.mean.shape()) + " and a deviation of shape " + to_string(c.deviation.shape()) +
                        "; both must have the shape of the first component's mean, " + to_string(components[0].mean.shape()));
    for (const double d : c.deviation.to_vector<double>())
      if (!(d > 0) || !std::isfinite(d)) throw ConfigError(name + " has the deviation " + std::to_string(d) + "; it must be above 0");
  }
}

double total_weight(const std::vector<GaussianMixture::Component>& components) {
  double total = 0;
  for (const GaussianMixture::Component& c : components) total += c.weight;
  return total;
}

// log(weight N(z; ...)) of each component, up to one common constant. `top` is the largest logarithm of each row. It is subtracted before exp and
// cancels in the result, so no gradient has to pass through it.
struct Logs {
  std::vector<Var> of;
  Tensor top;

  Logs(const std::vector<GaussianMixture::Component>& components, const Var& z, const Var& t) {
    for (const GaussianMixture::Component& c : components) {
      of.push_back(log_bell(c, z, t) + std::log(c.weight));
      top = top.defined() ? maximum(top, of.back().value()) : of.back().value();
    }
  }
};

// The mixture as plain numbers, whose velocity at one point needs no tensors. The map computes 4 * steps velocities per point.
class PlainMixture {
 public:
  explicit PlainMixture(const std::vector<GaussianMixture::Component>& components) : width_(static_cast<std::size_t>(components[0].mean.numel())) {
    for (const GaussianMixture::Component& c : components) {
      log_weights_.push_back(std::log(c.weight));
      const std::vector<double> mean = c.mean.to_vector<double>(), deviation = c.deviation.to_vector<double>();
      means_.insert(means_.end(), mean.begin(), mean.end());
      for (const double d : deviation) variances_.push_back(d * d);
    }
  }
  std::size_t width() const { return width_; }

  // The parts of the velocity at time t that do not depend on z. All points share them, so a map of many points computes them once.
  struct Moment {
    double t;
    std::vector<double> inverse, slope;              // 1 / a^2 and a'/a, (K, width)
    std::vector<double> constant;                    // log(weight / product of a), (K)
  };
  // The moments at t, t + h/2, t + h, t + 3h/2, ...: a Runge-Kutta step of fourth order uses three of them.
  std::vector<Moment> moments(double t, double h, int steps) const {
    std::vector<Moment> out;
    for (int i = 0; i <= 2 * steps; ++i) out.push_back(moment(t + 0.5 * i * h));
    return out;
  }

  // Computes v(z, t). `logs` is a buffer for one number per component.
  void velocity(const double* z, const Moment& m, double* v, std::vector<double>& logs) const {
    logs = m.constant;
    for (std::size_t k = 0; k < logs.size(); ++k)
      for (std::size_t d = 0, at = k * width_; d < width_; ++d, ++at) {
        const double x = z[d] - (1 - m.t) * means_[at];
        logs[k] -= 0.5 * x * x * m.inverse[at];
      }
    const double top = *std::max_element(logs.begin(), logs.end());
    std::fill_n(v, width_, 0.0);
    double total = 0;
    for (std::size_t k = 0; k < logs.size(); ++k) {
      const double share = std::exp(logs[k] - top);
      total += share;
      for (std::size_t d = 0, at = k * width_; d < width_; ++d, ++at) v[d] += share * ((z[d] - (1 - m.t) * means_[at]) * m.slope[at] - means_[at]);
    }
    for (std::size_t d = 0; d < width_; ++d) v[d] /= total;
  }

  // Integrates z in steps of length h. Each step uses the moments at its beginning, middle and end.
  void integrate(std::vector<double>& z, const std::vector<Moment>& m, double h) const {
    std::vector<double> k(width_), sum(width_), at(width_), logs;
    for (std::size_t i = 0; i + 2 < m.size(); i += 2) {
      std::fill(k.begin(), k.end(), 0.0), std::fill(sum.begin(), sum.end(), 0.0);
      for (const auto& [half_steps, weight] : {std::pair{std::size_t{0}, 1.0}, {1, 2.0}, {1, 2.0}, {2, 1.0}}) {
        for (std::size_t d = 0; d < width_; ++d) at[d] = z[d] + 0.5 * static_cast<double>(half_steps) * h * k[d];
        velocity(at.data(), m[i + half_steps], k.data(), logs);
        for (std::size_t d = 0; d < width_; ++d) sum[d] += weight / 6 * k[d];
      }
      for (std::size_t d = 0; d < width_; ++d) z[d] += h * sum[d];
    }
  }

 private:
  Moment moment(double t) const {
    Moment m{t, {}, {}, log_weights_};
    for (std::size_t i = 0; i < variances_.size(); ++i) {
      const double a2 = (1 - t) * (1 - t) * variances_[i] + t * t;
      m.inverse.push_back(1 / a2);
      m.slope.push_back((t - (1 - t) * variances_[i]) / a2);
      m.constant[i / width_] -= 0.5 * std::log(a2);
    }
    return m;
  }
  std::size_t width_;
  std::vector<double> log_weights_, means_, variances_;      // (K), (K, width), (K, width)
};

}  // namespace

FlowMapNet GaussianFlow::u() const {
  return
      [mu = mean, S = deviation](const Var& z, const Var& s, const Var& t, const Labels&) { return average_velocity_of(mu, S, z, s, t); };
}

Tensor GaussianFlow::map(const Tensor& z, const Tensor& s_rows, const Tensor& t_rows) const {
  const Tensor s = column(s_rows, z.rank()), t = column(t_rows, z.rank()), variance = square(deviation);
  const Tensor ratio = scale_at(s, variance).value() / scale_at(t, variance).value();
  return (1.0 - s) * mean + ratio * (z - (1.0 - t) * mean);
}

VelocityNet GaussianMixture::v() const {
  check(components);
  return [parts = components](const Var& z, const Var& t, const Labels&) {
    const Logs logs(parts, z, t);
    Var velocity, total;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Var r = column(exp(logs.of[i] - logs.top), z.rank());
      const Var part = r * average_velocity_of(parts[i].mean, parts[i].deviation, z, t, t);
      velocity = velocity.defined() ? velocity + part : part;
      total = total.defined() ? total + r : r;
    }
    return velocity / total;
  };
}

Var GaussianMixture::log_density(const Var& z, const Var& t) const {
  check(components);
  const Logs logs(components, z, t);
  Var total;
  for (const Var& l : logs.of) total = total.defined() ? total + exp(l - logs.top) : exp(l - logs.top);
  const double constant = 0.5 * std::log(2 * std::numbers::pi) * static_cast<double>(components[0].mean.numel()) + std::log(total_weight(components));
  return log(total) + logs.top - constant;
}

Tensor GaussianMixture::map(const Tensor& z, const Tensor& s, const Tensor& t, int steps) const {
  check(components);
  const PlainMixture mixture(components);
  const std::int64_t n = z.rank() > 0 ? z.dim(0) : 0;
  if (n == 0 || z.numel() != n * components[0].mean.numel() || s.shape() != Shape{n} || t.shape() != Shape{n} || steps < 1)
    throw ShapeError("GaussianMixture::map: z " + to_string(z.shape()) + ", s " + to_string(s.shape()) + ", t " + to_string(t.shape()) + ", " +
                     std::to_string(steps) + " steps: z must have rows of shape " + to_string(components[0].mean.shape()) +
                     ", s and t one time per row, and steps must be 1 or more");
  std::vector<double> values = z.to_vector<double>();
  const std::vector<double> from = t.to_vector<double>(), to = s.to_vector<double>();
  const auto length = [&](std::size_t row) { return (to[row] - from[row]) / steps; };
  bool equal_times = true;
  for (std::size_t i = 1; i < from.size(); ++i) equal_times = equal_times && from[i] == from[0] && to[i] == to[0];
  const auto common = equal_times ? mixture.moments(from[0], length(0), steps) : std::vector<PlainMixture::Moment>();
  parallel_for(n, 1000 * steps, [&](std::int64_t i) {
    const auto row = static_cast<std::size_t>(i);
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * mixture.width());
    std::vector<double> point(begin, begin + static_cast<std::ptrdiff_t>(mixture.width()));
    mixture.integrate(point, equal_times ? common : mixture.moments(from[row], length(row), steps), length(row));
    std::copy(point.begin(), point.end(), begin);
  });
  return Tensor::from(values, z.shape()).to(z.dtype()).to(z.device());
}

GaussianMixture eight_gaussians(DType dtype) {
  GaussianMixture mixture;
  for (int k = 0; k < 8; ++k) {
    const double angle = std::numbers::pi / 4 * k, radius = std::numbers::sqrt2;
    mixture.components.push_back({1, Tensor::from<double>({radius * std::cos(angle), radius * std::sin(angle)}, {2}).to(dtype), Tensor::full({2}, 0.1, dtype)});
  }
  return mixture;
}

FlowMapNet average_velocity(VelocityNet v, int steps) {
  return [v = std::move(v), steps](const Var& z, const Var& s, const Var& t, const Labels& y) {
    const Var h = (s - t) / steps, h_column = column(h, z.rank());
    Var x = z, total;
    for (int i = 0; i < steps; ++i) {
      const Var t0 = t + double(i) * h, half = t0 + 0.5 * h;
      const Var k1 = v(x, t0, y);
      const Var k2 = v(x + 0.5 * h_column * k1, half, y);
      const Var k3 = v(x + 0.5 * h_column * k2, half, y);
      const Var k4 = v(x + h_column * k3, t0 + h, y);
      const Var k = (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0;
      x = x + h_column * k;
      total = total.defined() ? total + k : k;
    }
    return total / steps;
  };
}

double map_error(const FlowMapNet& net, const GaussianMixture& data, const Tensor& noise, const Labels& y) {
  const std::int64_t n = noise.dim(0);
  const Tensor zeros = Tensor::zeros({n}, noise.dtype(), noise.device()), ones = Tensor::ones({n}, noise.dtype(), noise.device());
  return mean_square_distance(noise - evaluate(net, noise, zeros, ones, y), data.map(noise, zeros, ones));
}

}  // namespace fm
