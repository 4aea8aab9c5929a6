// Comparison of computed numbers with wanted ones: CHECK(near(value, wanted, relative)).
//
// doctest's Approx adds 1 to the scale of its tolerance, so that 0 passes for every number smaller than the tolerance. Here the bound is a
// share of the wanted number and nothing else: |value - wanted| <= relative |wanted|. A bound that 0 or a number of the other sign could
// pass is an error of the test itself. Where 0 is wanted, or where cancellation leaves rounding of a known size, near_zero(value, bound)
// and near_within(value, wanted, bound) take an absolute bound and are named for it.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace fm::test {

// The result of one comparison. doctest prints it when the check fails.
struct Nearness {
  double value, wanted, seen, bound;
  bool relative;
  explicit operator bool() const { return seen <= bound; }        // false for a NaN
};

inline std::ostream& operator<<(std::ostream& out, const Nearness& n) {
  std::ostringstream text;
  text << std::setprecision(17) << "value " << n.value << ", wanted " << n.wanted << std::setprecision(3)
       << (n.relative ? ", relative error " : ", absolute error ") << n.seen << ", allowed " << n.bound;
  return out << text.str();
}

namespace nearness {
inline double checked(bool good, double number, const char* rule) {
  if (!good) throw std::invalid_argument(std::string(rule) + ", not " + std::to_string(number));
  return number;
}
inline bool positive(double bound) { return bound > 0 && std::isfinite(bound); }
}  // namespace nearness

// |value - wanted| <= relative |wanted|, with 0 < relative < 1, and wanted finite and not 0. Throws std::invalid_argument otherwise.
inline Nearness near(double value, double wanted, double relative) {
  nearness::checked(std::isfinite(wanted) && wanted != 0, wanted, "near: the wanted number must be finite and not 0 (near_zero takes a bound)");
  nearness::checked(relative > 0 && relative < 1, relative, "near: the relative bound must lie between 0 and 1; 1 would accept 0");
  return {value, wanted, std::fabs(value - wanted) / std::fabs(wanted), relative, true};
}

// |value| <= bound: for a value that is 0 except for rounding of this size.
inline Nearness near_zero(double value, double bound) {
  nearness::checked(nearness::positive(bound), bound, "near_zero: the bound must be finite and positive");
  return {value, 0, std::fabs(value), bound, false};
}

// |value - wanted| <= bound, with bound < |wanted| so that 0 cannot pass: for a small difference of large numbers.
inline Nearness near_within(double value, double wanted, double bound) {
  nearness::checked(std::isfinite(wanted), wanted, "near_within: the wanted number must be finite");
  nearness::checked(nearness::positive(bound) && bound < std::fabs(wanted), bound,
                    "near_within: the bound must be positive and below the wanted number, or 0 would pass");
  return {value, wanted, std::fabs(value - wanted), bound, false};
}

}  // namespace fm::test
