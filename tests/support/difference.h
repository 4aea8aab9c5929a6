// The largest difference of two lists of numbers. A NaN counts as infinite; std::max would ignore it.
#pragma once

#include <cmath>
#include <vector>

namespace fm::test {

// The larger of the two, where a NaN is infinite.
inline double worse(double worst, double x) { return x <= worst ? worst : std::isnan(x) ? HUGE_VAL : x; }

// The largest |a[i] - b[i]|; infinite if the sizes differ.
template <class A, class B> double max_difference(const std::vector<A>& a, const std::vector<B>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = worse(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

}  // namespace fm::test
