#include "flowmap/sampler_adaptive.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr int stages = 7;
// Row i: the weights of slopes 0 to i - 1 for the point where slope i is asked. The last row gives the step's result, of order 5.
constexpr std::array<std::array<double, 6>, stages> weights{{{},
  {1.0 / 5},
  {3.0 / 40, 9.0 / 40},
  {44.0 / 45, -56.0 / 15, 32.0 / 9},
  {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
  {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
  {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}}};
constexpr std::array<double, stages> at{0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
// Result of order 5 minus the one of order 4.
constexpr std::array<double, stages> difference{71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

void check(const AdaptiveOde& ode) {
  if (!(ode.absolute > 0 && ode.relative >= 0 && std::isfinite(ode.absolute) && std::isfinite(ode.relative)))
    throw ConfigError(fmt::format("adaptive solver: the tolerances are {} absolute and {} relative; the first must be positive, the second 0 or more", ode.absolute, ode.relative));
  if (!(ode.from > ode.to)) throw ConfigError(fmt::format("adaptive solver: from t = {} to {}; the time must fall", ode.from, ode.to));
}

// The rms of x / (absolute + relative |z|), in f64.
double scaled_size(const Tensor& x, const std::vector<double>& z, const AdaptiveOde& ode) {
  const std::vector<double> values = x.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double part = values[i] / (ode.absolute + ode.relative * z[i]);
    sum += part * part;
  }
  return std::sqrt(sum / static_cast<double>(std::max<std::size_t>(1, values.size())));
}

std::vector<double> sizes(const Tensor& z) {
  std::vector<double> out = z.to_vector<double>();
  for (double& value : out) value = std::abs(value);
  return out;
}

std::vector<double> larger_sizes(const Tensor& a, const Tensor& b) {
  std::vector<double> out = sizes(a);
  const std::vector<double> other = sizes(b);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::max(out[i], other[i]);
  return out;
}

// Time runs from 0 to `length`, backwards in t.
class DormandPrince {
 public:
  DormandPrince(const VelocityNet& v, const Labels& y, const AdaptiveOde& ode) : v_(v), y_(y), ode_(ode) {}

  AdaptiveSamples run(const Tensor& noise) {
    const double length = ode_.from - ode_.to;
    Tensor z = noise, slope = slope_at(z, 0);
    double now = 0, h = std::min(length, first_step(z, slope));
    while (now < length) {
      if (out_.steps + out_.rejected >= ode_.most_steps)
        throw Error(fmt::format("adaptive solver: {} steps reached only t = {}; the velocity is too stiff for the tolerances {} and {}", ode_.most_steps, ode_.from - now, ode_.absolute, ode_.relative));
      const bool last = now + h >= length;
      if (last) h = length - now;
      std::array<Tensor, stages> k{slope};
      const Tensor next = advance(z, now, h, k);
      const double error = scaled_size(h * combined(k, difference), larger_sizes(z, next), ode_);
      if (!std::isfinite(error)) throw Error(fmt::format("adaptive solver: the velocity is not finite after t = {}", ode_.from - now));
      if (error <= 1) {
        z = next, slope = k.back(), now = last ? length : now + h;
        ++out_.steps;
      } else {
        ++out_.rejected;
      }
      h *= std::clamp(0.9 * std::pow(std::max(error, 1e-10), -0.2), 0.2, error <= 1 ? 10.0 : 1.0);
    }
    out_.samples = z;
    return out_;
  }

 private:
  // dz/dtau for tau = from - t
  Tensor slope_at(const Tensor& z, double now) {
    ++out_.calls;
    return -1.0 * evaluate(v_, z, Tensor::full({z.dim(0)}, ode_.from - now, z.dtype()), y_);
  }

  template <std::size_t N>
  static Tensor combined(const std::array<Tensor, stages>& k, const std::array<double, N>& w) {
    Tensor sum = w[0] * k[0];
    for (std::size_t i = 1; i < N; ++i)
      if (w[i] != 0) sum = sum + w[i] * k[i];
    return sum;
  }

  // Fills k[1..6] and returns the point of order 5.
  Tensor advance(const Tensor& z, double now, double h, std::array<Tensor, stages>& k) {
    Tensor x;
    for (std::size_t i = 1; i < stages; ++i) {
      x = z + h * combined(k, weights[i]);
      k[i] = slope_at(x, now + at[i] * h);
    }
    return x;
  }

  // Hairer's choice: a hundredth of |z| / |z'|, then from an estimate of the second derivative.
  double first_step(const Tensor& z, const Tensor& slope) {
    const std::vector<double> size = sizes(z);
    const double d0 = scaled_size(z, size, ode_), d1 = scaled_size(slope, size, ode_);
    const double h0 = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1;
    const Tensor later = slope_at(z + h0 * slope, h0);
    const double d2 = scaled_size(later - slope, size, ode_) / h0;
    const double h1 = std::max(d1, d2) <= 1e-15 ? std::max(1e-6, 1e-3 * h0) : std::pow(0.01 / std::max(d1, d2), 0.2);
    return std::min(100 * h0, h1);
  }

  const VelocityNet& v_;
  const Labels& y_;
  const AdaptiveOde& ode_;
  AdaptiveSamples out_;
};

}  // namespace

AdaptiveSamples sample_adaptive(const VelocityNet& v, const Tensor& noise, const Labels& y, const AdaptiveOde& ode) {
  check(ode);
  return DormandPrince(v, y, ode).run(noise);
}

}  // namespace fm
