// Options that not all versions have. Of those that no longer exist, old config files go on working where the option did nothing, and an error says
// what became of it otherwise. Of some that were added, one value is what earlier versions did: it is no difference from their runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

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

struct AddedOption {
  std::string_view path;       // ".tangent.norm": of every key that ends so
  std::string_view before;     // the value that says what versions without the option did
};

inline constexpr AddedOption added_options[] = {
    {"dit.axes", "2"},
    {"dit.input_width", "0"},
    {"dit.late_s", "false"},
    {".pairs.one_share", "0"},
    {".improved_mean_flow.omega", "1"},
    {".improved_mean_flow.low", "0"},
    {".improved_mean_flow.high", "1"},
    {".tangent.warmup_over", "0"},
    {".tangent.clamp_residual", "0"},
    {".tangent.norm", "row"},
    {".row_weight", "false"},
};

// That an old run lacks this option makes no difference, if its value is this one. `value` as on a command line or in a config file.
bool is_as_before(std::string_view path, std::string_view value);

// toml_changes (nn/config/toml_text.h) without options of earlier versions that are gone, and added ones with the value that does what they did.
std::vector<std::string> config_changes(std::string_view before, std::string_view after);

}  // namespace fm
