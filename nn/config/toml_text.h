// Configs as TOML text, the form they have in config.toml: tables are nested structs, keys are fields. Programs read it (apps/cli/toml.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

// All fields, with help and unit as comments; load_toml_text reads it back to the same bits.
std::string to_toml(const std::vector<Field>& fields);

// One TOML value: 1e-04, "text", [1, 2].
std::string toml_value(const Field& field);

// The keys of a text of to_toml by their dotted path, each with its value as it is written.
std::map<std::string, std::string> toml_settings(std::string_view toml);

// "key was a, is b" for every key that two texts of to_toml disagree on; "key is new: b" and "key is gone, was a" where only one has it.
std::vector<std::string> toml_changes(std::string_view before, std::string_view after);

}  // namespace fm
