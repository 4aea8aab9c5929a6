// Durations as the command line gives them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fm {

inline constexpr double longest_duration = 3650 * 86400.0;        // ten years, far from where nanoseconds overflow 64 bits

// Converts "1h50m", "90s", "2d" or "1.5h" to seconds. ConfigError unless the result is above 0 and at most `most`, and for a number without a
// unit, because schedulers disagree on the unit.
double parse_duration(std::string_view text, std::string_view where, double most = longest_duration);

}  // namespace fm
