// Configs as TOML text, the form they have in config.toml: tables are nested structs, keys are fields. Programs read it (apps/cli/toml.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

// Writes all fields, with help texts and units as comments. load_toml_text reads them back to the same bits.
std::string to_toml(const std::vector<Field>& fields);

// Returns the field's value as TOML: 1e-04, "text", [1, 2].
std::string toml_value(const Field& field);

// Returns the dotted keys of a text that to_toml wrote, each with its value as written.
std::map<std::string, std::string> toml_settings(std::string_view toml);

// Compares two texts that to_toml wrote: "key was a, is b" for different values, "key is new: b" or "key is gone, was a" for keys of only one text.
std::vector<std::string> toml_changes(std::string_view before, std::string_view after);

}  // namespace fm
