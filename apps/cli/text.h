// Numbers for people: durations, counts, bytes, rates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fm {

std::string duration_text(double seconds);                        // "0:07", "22:05", "1:02:03", "3d 04:05:06"; "--:--" when not finite
std::string bytes_text(double bytes);                             // "512 B", "1.3 GiB"
std::string flops_text(double flops);                             // "1.20 MFLOP", "82.73 TFLOP"
std::string rate_text(double per_second, std::string_view what);  // "14.2 it/s"; below 0.1 a second "25.0 s/it"

inline constexpr double longest_duration = 3650 * 86400.0;        // ten years, far from where nanoseconds overflow 64 bits

// "1h50m", "90s", "2d", "1.5h" in seconds, above 0 and up to `most` seconds. Throws ConfigError, also for a number without a unit
// (schedulers disagree on it).
double parse_duration(std::string_view text, std::string_view where, double most = longest_duration);

int64_t resident_bytes();       // memory of this process that is in RAM; 0 where the system does not say

}  // namespace fm
