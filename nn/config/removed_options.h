// Options that only some versions of the program have. An old config file may set a removed option to the value that had no effect; any other value
// is an error with the reason. A run of a version without an added option equals a run that sets the option to its `before` value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct RemovedOption {
  std::string_view path;       // as in a config file
  std::string_view harmless;   // the value that had no effect: a file may still set it
  std::string_view why;
};

inline constexpr RemovedOption removed_options[] = {
    {"deterministic", "true", "results have the same bits in every run, with any value of this option"},
};

// Returns the removed option with this path; null if there is none.
inline const RemovedOption* removed_option(std::string_view path) {
  for (const RemovedOption& option : removed_options)
    if (option.path == path) return &option;
  return nullptr;
}

struct AddedOption {
  std::string_view path;       // a key, or an ending such as ".tangent.norm" that stands for all keys that end with it
  std::string_view before;     // the value with which the program behaves like versions without the option
};

inline constexpr AddedOption added_options[] = {
    {"guidance_from", "0"},
    {"guidance_to", "1"},
    {"dit.axes", "2"},
    {"dit.input_width", "0"},
    {"dit.late_s", "false"},
    {".pairs.one_share", "0"},
    {".guided_mean_flow.compat.cmt_time_labels", "true"},
    {".guided_mean_flow.compat.fd_share_label_drop", "true"},
    {".guided_mean_flow.compat.clamp_fd_times", "true"},
    {".guided_mean_flow.compat.squared_adaptive_metric", "false"},
    {".improved_mean_flow.omega", "1"},
    {".improved_mean_flow.low", "0"},
    {".improved_mean_flow.high", "1"},
    {".tangent.warmup_over", "0"},
    {".tangent.clamp_residual", "0"},
    {".tangent.norm", "row"},
    {".row_weight", "false"},
    {"decoder.lpips_weight", "0"},
    {"decoder.lpips_weights", ""},
    {"decoder.gan.weight", "0"},
    {"decoder.gan.loss", "hinge"},
    {"decoder.gan.discriminator_from", "0"},
    {"decoder.gan.generator_from", "0"},
    {"decoder.gan.augment", "1"},
    {"decoder.gan.backbone_weights", ""},
    {"decoder.gan.discriminator_rate", "2e-4"},
    {"decoder.gan.discriminator_beta1", "0.9"},
    {"decoder.gan.discriminator_beta2", "0.95"},
};

// True if `value`, written as on a command line or in a config file, makes the option behave like versions without it.
bool is_as_before(std::string_view path, std::string_view value);

// toml_changes (nn/config/toml_text.h), but without removed options, and without added options at their `before` value.
std::vector<std::string> config_changes(std::string_view before, std::string_view after);

}  // namespace fm
