// Options that not all versions have. A removed option in an old config file is accepted if it had no effect; otherwise an error says
// what replaced it. For some added options, one value matches the behavior of earlier versions: it is no difference from their runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct RemovedOption {
  std::string_view path;       // as in a config file
  std::string_view harmless;   // the value without effect: such a line in a file is skipped
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
  std::string_view before;     // the value that matches versions without the option
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

// Whether an old run may lack this option because its value matches the old behavior. `value` as on a command line or in a config file.
bool is_as_before(std::string_view path, std::string_view value);

// toml_changes (nn/config/toml_text.h) without removed options, and without added ones whose value matches earlier versions.
std::vector<std::string> config_changes(std::string_view before, std::string_view after);

}  // namespace fm
