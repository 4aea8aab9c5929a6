#include "data/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fm {

Statistics statistics(const std::vector<double>& values) {
  Statistics s;
  double sum = 0, squares = 0;
  for (double v : values)
    if (std::isfinite(v)) sum += v, ++s.n;
  if (s.n == 0) return {std::numeric_limits<double>::quiet_NaN(), 0, 0};
  s.mean = sum / static_cast<double>(s.n);
  const auto first = std::find_if(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
  if (std::all_of(first, values.end(), [&](double v) { return !std::isfinite(v) || v == *first; })) return {*first, 0, s.n};    // not the rounding of the mean
  for (double v : values)
    if (std::isfinite(v)) squares += (v - s.mean) * (v - s.mean);
  if (s.n > 1) s.deviation = std::sqrt(squares / static_cast<double>(s.n - 1));
  return s;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values.at(half) : 0.5 * (values.at(half - 1) + values.at(half));
}

double spread(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return (*high - *low) / median(values);
}

}  // namespace fm
