#include "flowmap/gaussian.h"

#include <cmath>

#include "flowmap/path.h"
#include "tensor/error.h"

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
Var log_density(const GaussianMixture::Component& c, const Var& z, const Var& t_rows) {
  const Var t = column(t_rows, z.rank()), a = scale_at(t, square(c.deviation));
  return row_sums(-0.5 * square((z - (1.0 - t) * c.mean) / a) - log(a));
}

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
  if (components.empty()) throw ConfigError("a Gaussian mixture needs a component");
  return [parts = components](const Var& z, const Var& t, const Labels&) {
    std::vector<Var> logs;
    Tensor top;                          // the largest logarithm, a constant: it cancels
    for (const Component& c : parts) {
      logs.push_back(log_density(c, z, t) + std::log(c.weight));
      top = top.defined() ? maximum(top, logs.back().value()) : logs.back().value();
    }
    Var velocity, total;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Var r = column(exp(logs[i] - top), z.rank());
      const Var part = r * average_velocity_of(parts[i].mean, parts[i].deviation, z, t, t);
      velocity = velocity.defined() ? velocity + part : part;
      total = total.defined() ? total + r : r;
    }
    return velocity / total;
  };
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

}  // namespace fm
