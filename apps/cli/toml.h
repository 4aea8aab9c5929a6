// Reads config files: TOML tables are nested structs, keys are fields. nn/config/toml_text.h writes them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/config/toml_text.h"
#include "nn/config/visit.h"

namespace fm {

// Sets the fields named in the text. `where` names the text in errors ("configs/a.toml"); they add the line. Throws ConfigError:
// syntax, an unknown key (names the nearest one), another type (no conversions but integer to number), a value outside its range.
void load_toml_text(const std::vector<Field>& fields, std::string_view text, const std::string& where);
// `unknown` gets a message for each key that is not a field. If it is empty, such a key is an error.
void load_toml_file(const std::vector<Field>& fields, const std::filesystem::path& path, const std::function<void(const std::string&)>& unknown = {});

}  // namespace fm
