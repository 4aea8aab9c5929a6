// Durations as the command line gives them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fm {

inline constexpr double longest_duration = 3650 * 86400.0;        // ten years, far from where nanoseconds overflow 64 bits

// "1h50m", "90s", "2d", "1.5h" in seconds, above 0 and up to `most` seconds. Throws ConfigError, also for a number without a unit
// (schedulers disagree on it).
double parse_duration(std::string_view text, std::string_view where, double most = longest_duration);

}  // namespace fm
