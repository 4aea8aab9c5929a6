// Mean and standard deviation of numbers that repeat one measurement: subsets, splits, halves.
#pragma once

#include <cmath>
#include <vector>

namespace fm {

struct Spread {
  double mean = 0, deviation = 0;
};

// mean = sum x / n,  deviation^2 = sum (x - mean)^2 / (n - less). `less`: 0 as torch-fidelity prints it, 1 for the estimate from a sample. Needs n > less.
inline Spread spread_of(const std::vector<double>& x, int less = 0) {
  const auto n = static_cast<double>(x.size());
  Spread out;
  for (const double v : x) out.mean += v / n;
  double squares = 0;
  for (const double v : x) squares += (v - out.mean) * (v - out.mean) / (n - less);
  out.deviation = std::sqrt(squares);
  return out;
}

}  // namespace fm
