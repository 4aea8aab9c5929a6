// The present time as text or as a number.
#pragma once

#include <string>

namespace fm {

std::string local_time_text();  // "2026-01-31 12:34:56"
std::string utc_now();          // "2026-01-31T12:34:56.789Z": rows of tables with the same date belong together
double unix_seconds();          // with fraction

}  // namespace fm
