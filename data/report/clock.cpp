#include "data/report/clock.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace fm {

namespace {

std::string formatted(const std::tm& parts, const char* form) {
  char text[32];
  std::strftime(text, sizeof text, form, &parts);
  return text;
}

}  // namespace

std::string local_time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  return formatted(*localtime_r(&now, &parts), "%Y-%m-%d %H:%M:%S");
}

std::string utc_now() {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm parts{};
  return fmt::format("{}.{:03}Z", formatted(*gmtime_r(&seconds, &parts), "%Y-%m-%dT%H:%M:%S"), milliseconds % 1000);
}

double unix_seconds() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace fm
