// Numbers for people: durations, bytes, FLOPs, rates.
#pragma once

#include <string>
#include <string_view>

namespace fm {

std::string duration_text(double seconds);                        // "0:07", "22:05", "1:02:03", "3d 04:05:06"; "--:--" when not finite
std::string bytes_text(double bytes);                             // "512 B", "1.3 GiB"
std::string flops_text(double flops);                             // "1.20 MFLOP", "82.73 TFLOP"
std::string rate_text(double per_second, std::string_view what);  // "14.2 it/s"; below 0.1 a second "25.0 s/it"

}  // namespace fm
