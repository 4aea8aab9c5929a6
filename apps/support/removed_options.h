// Options of earlier versions that no longer exist: old config files go on working where the option did nothing, and an error says what became
// of it otherwise.
#pragma once

#include <string_view>

namespace fm {

struct RemovedOption {
  std::string_view path;       // as in a config file
  std::string_view harmless;   // the value that changes nothing: such a line in a file is passed over
  std::string_view why;
};

inline constexpr RemovedOption removed_options[] = {
    {"deterministic", "true", "results are the same bits at every run, whatever it was set to"},
};

// Null for an option that never existed.
inline const RemovedOption* removed_option(std::string_view path) {
  for (const RemovedOption& option : removed_options)
    if (option.path == path) return &option;
  return nullptr;
}

}  // namespace fm
