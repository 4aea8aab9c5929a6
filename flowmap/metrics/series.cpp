#include "flowmap/metrics/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

struct Sequences {
  const double* values;
  std::int64_t n, channels, length;
  const double* of(std::int64_t i, std::int64_t c) const { return values + (i * channels + c) * length; }
};

// Returns f(c, k) for each channel c and each k < count, as (C, count). One thread computes each value.
template <class F> Tensor by_channel(const Sequences& x, std::int64_t count, const F& f) {
  const Tensor out = Tensor::empty({x.channels, count}, DType::f64, Device{});
  double* to = out.data<double>();
  parallel_for(x.channels * count, x.n * x.length, [&](std::int64_t job) { to[job] = f(job / count, job % count); });
  return out;
}

double covariance(const Sequences& x, const double* mean, std::int64_t c, std::int64_t lag) {
  const double* m = mean + c * x.length;
  double sum = 0;
  for (std::int64_t i = 0; i < x.n; ++i) {
    const double* row = x.of(i, c);
    for (std::int64_t l = 0; l + lag < x.length; ++l) sum += (row[l] - m[l]) * (row[l + lag] - m[l + lag]);
  }
  return sum / (static_cast<double>(x.n) * static_cast<double>(x.length - lag));
}

double power_at(const Sequences& x, std::int64_t c, std::int64_t f) {
  std::vector<double> cosine, sine;
  for (std::int64_t l = 0; l < x.length; ++l) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(f * l % x.length) / static_cast<double>(x.length);
    cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
  }
  double sum = 0;
  for (std::int64_t i = 0; i < x.n; ++i) {
    const double* row = x.of(i, c);
    double a = 0, b = 0;
    for (std::int64_t l = 0; l < x.length; ++l) a += row[l] * cosine[static_cast<std::size_t>(l)], b += row[l] * sine[static_cast<std::size_t>(l)];
    sum += a * a + b * b;
  }
  const double sides = f == 0 || 2 * f == x.length ? 1 : 2, length = static_cast<double>(x.length);
  return sides * sum / (static_cast<double>(x.n) * length * length);
}

constexpr std::int64_t compared = 128;        // number of lags, and of frequencies besides 0

std::vector<double> numbers_of(const Tensor& x) { return x.to_vector<double>(); }
double squared(double x) { return x * x; }
double share(double part, double whole) { return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN(); }

double correlation_error(const SeriesStatistics& a, const SeriesStatistics& b) {
  const std::int64_t channels = a.correlation.dim(0), lags = a.correlation.dim(1);
  double sum = 0, count = 0;
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::vector<double> x = numbers_of(a.correlation.select(0, c)), y = numbers_of(b.correlation.select(0, c));
    if (std::isnan(x[0]) && std::isnan(y[0])) continue;          // this channel varies in neither set
    for (std::size_t k = 1; k < static_cast<std::size_t>(lags); ++k) sum += squared(x[k] - y[k]), ++count;
  }
  return std::sqrt(share(sum, count));
}

// The total power of the frequencies that were not computed, for each channel: the mean of x^2, which is that of m^2 + v, minus the computed power.
std::vector<double> higher_power(const SeriesStatistics& s) {
  std::vector<double> out;
  for (std::int64_t c = 0; c < s.mean.dim(0); ++c) {
    const std::vector<double> m = numbers_of(s.mean.select(0, c)), v = numbers_of(s.variance.select(0, c)), p = numbers_of(s.power.select(0, c));
    double all = 0, known = 0;
    for (std::size_t l = 0; l < m.size(); ++l) all += (squared(m[l]) + v[l]) / static_cast<double>(m.size());
    for (const double power : p) known += power;
    out.push_back(s.power.dim(1) > s.mean.dim(1) / 2 ? 0 : all - known);
  }
  return out;
}

double power_error(const SeriesStatistics& a, const SeriesStatistics& b) {
  double apart = 0, all = 0;
  const auto add = [&](const std::vector<double>& x, const std::vector<double>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) apart += std::abs(x[i] - y[i]), all += y[i];
  };
  add(numbers_of(a.power), numbers_of(b.power));
  add(higher_power(a), higher_power(b));
  return share(apart, all);
}

}  // namespace

SeriesStatistics series_statistics(const Tensor& samples, std::int64_t lags, std::int64_t frequencies) {
  if (samples.rank() != 3 || samples.numel() == 0 || lags < 1 || frequencies < 1)
    throw ShapeError("series_statistics: samples " + to_string(samples.shape()) + ", " + std::to_string(lags) + " lags, " + std::to_string(frequencies) +
                     " frequencies: needs samples (n, C, L) with at least one value, and at least 1 lag and 1 frequency");
  if (const std::int64_t row = first_row_not_finite(samples); row >= 0)
    throw Error("series_statistics: sample " + std::to_string(row) + " is not finite");
  const Tensor host = samples.to(Device{}).to(DType::f64).contiguous();
  const Sequences x{host.data<double>(), host.dim(0), host.dim(1), host.dim(2)};
  const double n = static_cast<double>(x.n);
  SeriesStatistics s;
  s.mean = by_channel(x, x.length, [&](std::int64_t c, std::int64_t l) {
    double sum = 0;
    for (std::int64_t i = 0; i < x.n; ++i) sum += x.of(i, c)[l];
    return sum / n;
  });
  const double* mean = s.mean.data<double>();
  s.variance = by_channel(x, x.length, [&](std::int64_t c, std::int64_t l) {
    double sum = 0;
    for (std::int64_t i = 0; i < x.n; ++i) sum += std::pow(x.of(i, c)[l] - mean[c * x.length + l], 2);
    return sum / n;
  });
  s.correlation = by_channel(x, std::min(lags, x.length), [&](std::int64_t c, std::int64_t k) { return covariance(x, mean, c, k) / covariance(x, mean, c, 0); });
  s.power = by_channel(x, std::min(frequencies, x.length / 2 + 1), [&](std::int64_t c, std::int64_t f) { return power_at(x, c, f); });
  return s;
}

SeriesErrors series_errors(const Tensor& generated, const Tensor& real) {
  if (generated.rank() != 3 || real.rank() != 3 || generated.shape().without(0) != real.shape().without(0) || real.dim(2) < 2)
    throw ShapeError("series_errors: generated samples " + to_string(generated.shape()) + ", real ones " + to_string(real.shape()) +
                     ": both must be (n, C, L) with L of 2 or more, and with equal C and L");
  const std::int64_t lags = std::min(compared, real.dim(2) / 2) + 1;
  const SeriesStatistics a = series_statistics(generated, lags, compared + 1), b = series_statistics(real, lags, compared + 1);
  const std::vector<double> m = numbers_of(a.mean), v = numbers_of(a.variance), real_m = numbers_of(b.mean), real_v = numbers_of(b.variance);
  const double count = static_cast<double>(m.size());
  double means = 0, variances = 0, spread = 0;
  for (std::size_t i = 0; i < m.size(); ++i) means += squared(m[i] - real_m[i]), variances += squared(v[i] - real_v[i]), spread += real_v[i];
  return {std::sqrt(share(means, spread)), share(std::sqrt(variances / count), spread / count), correlation_error(a, b), power_error(a, b)};
}

}  // namespace fm
