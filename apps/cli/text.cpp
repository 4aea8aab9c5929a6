// Numbers for people.
#include "apps/cli/text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "tensor/error.h"

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
  if (total > most) throw ConfigError(fmt::format("{}: '{}' is too long: takes up to {}d", where, text, most / 86400));
  return total;
}

int64_t resident_bytes() {
  long total = 0, resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return int64_t(resident) * sysconf(_SC_PAGESIZE);
}

}  // namespace fm
