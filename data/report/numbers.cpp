#include "data/report/numbers.h"

#include <fmt/format.h>

#include <cmath>

namespace fm {

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "--:--";
  const int64_t s = std::llround(seconds);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  const std::string clock = fmt::format("{:02}:{:02}", s / 60 % 60, s % 60);
  if (s < 86400) return fmt::format("{}:{}", s / 3600, clock);
  return fmt::format("{}d {:02}:{}", s / 86400, s / 3600 % 24, clock);
}

std::string bytes_text(double bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1023.95 && unit < 4; bytes /= 1024) ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 99.95 ? 0 : 1, units[unit]);
}

std::string flops_text(double flops) {
  return flops >= 1e12  ? fmt::format("{:.2f} TFLOP", flops / 1e12)
         : flops >= 1e9 ? fmt::format("{:.2f} GFLOP", flops / 1e9)
                        : fmt::format("{:.2f} MFLOP", flops / 1e6);
}

std::string rate_text(double per_second, std::string_view what) {
  if (!std::isfinite(per_second) || per_second <= 0) return fmt::format("-- {}/s", what);
  if (per_second < 0.1) return fmt::format("{:.1f} s/{}", 1 / per_second, what);
  return fmt::format("{:.{}f} {}/s", per_second, per_second < 9.995 ? 2 : per_second < 99.95 ? 1 : 0, what);
}

}  // namespace fm
