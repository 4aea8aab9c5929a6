// Checked conversion of integers to smaller types.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "tensor/error.h"

namespace fm {

// Returns x as a To. Throws ConfigError with `what` and x if x is out of To's range. (A cast would keep only the low bits: 4294967297 would
// become 1.) tests/narrowing.sh enforces its use in apps, data, flowmap and nn.
template <class To, class From>
To narrow(From x, std::string_view what = "a number") {
  static_assert(std::is_integral_v<From> && std::is_integral_v<To>);
  if (!std::in_range<To>(x))
    throw ConfigError(std::string(what) + " " + std::to_string(x) + " is out of range (" + std::to_string(std::numeric_limits<To>::min()) +
                      " to " + std::to_string(std::numeric_limits<To>::max()) + ")");
  return static_cast<To>(x);
}

}  // namespace fm
