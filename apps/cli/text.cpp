#include "apps/cli/text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace fm {

double parse_duration(std::string_view text, std::string_view where, double most) {
  const auto factor_of = [](char unit) { return unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0; };
  double total = 0;
  std::string_view left = text;
  while (!left.empty()) {
    double value = 0;
    const auto [stop, error] = std::from_chars(left.data(), left.data() + left.size(), value, std::chars_format::fixed);
    const bool complete = error == std::errc() && stop != left.data() + left.size();
    if (!complete || !std::isfinite(value) || value < 0 || factor_of(*stop) == 0) break;
    total += value * factor_of(*stop);
    left.remove_prefix(size_t(stop - left.data()) + 1);
  }
  if (text.empty() || !left.empty() || total <= 0)
    throw ConfigError(fmt::format("{}: '{}' is no duration; write it like 1h50m, 90s or 2d", where, text));
  if (total > most) throw ConfigError(fmt::format("{}: '{}' is too long: at most {}d is possible", where, text, most / 86400));
  return total;
}

}  // namespace fm
