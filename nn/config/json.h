// Configs as JSON, the form they have inside checkpoints: nested objects, one member per field.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

nlohmann::ordered_json fields_to_json(const std::vector<Field>& fields);

// Reads the members that are there; a field without a member keeps its value (older checkpoints know fewer fields).
// Throws ConfigError on an unknown member, another type or a value outside its range; `where` begins the message.
void fields_from_json(const std::vector<Field>& fields, const nlohmann::ordered_json& json, std::string_view where);

// The same through text. Throws ConfigError when the text is no JSON.
std::string fields_to_json_text(const std::vector<Field>& fields, int indent = 2);
void fields_from_json_text(const std::vector<Field>& fields, std::string_view text, std::string_view where);

template <class C>
std::string to_json_text(C config, int indent = 2) {  // by value: listing wants a mutable config
  return fields_to_json_text(list_fields(config), indent);
}
template <class C>
C from_json_text(std::string_view text, std::string_view where = "config") {
  C config;
  fields_from_json_text(list_fields(config), text, where);
  return config;
}

}  // namespace fm
