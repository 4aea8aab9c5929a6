// Configs to and from JSON.
#include "nn/config/json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace fm {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinity: it is written as the word, which the reader takes back.
Json to_json(double x) { return std::isfinite(x) ? Json(x) : Json(x > 0 ? "inf" : "-inf"); }
template <class T>
Json to_json(const T& value) {
  return Json(value);
}
Json to_json(const std::vector<double>& values) {
  Json list = Json::array();
  for (double x : values) list.push_back(to_json(x));
  return list;
}

bool read(const Json& json, bool& v) { return json.is_boolean() && (v = json.get<bool>(), true); }
bool read(const Json& json, int64_t& v) { return json.is_number_integer() && (v = json.get<int64_t>(), true); }
bool read(const Json& json, std::string& v) { return json.is_string() && (v = json.get<std::string>(), true); }
bool read(const Json& json, double& v) {
  if (json.is_string()) return parse_number(json.get<std::string>(), v) && std::isinf(v);
  return json.is_number() && (v = json.get<double>(), true);
}
template <class T>
bool read(const Json& json, std::vector<T>& v) {
  if (!json.is_array()) return false;
  std::vector<T> values(json.size());
  for (size_t i = 0; i < values.size(); ++i)
    if (!read(json[i], values[i])) return false;
  v = std::move(values);
  return true;
}

void read_object(const std::vector<Field>& fields, const Json& object, const std::string& prefix, std::string_view where) {
  for (const auto& [name, member] : object.items()) {
    const std::string path = prefix + name;
    if (member.is_object()) {
      read_object(fields, member, path + ".", where);
      continue;
    }
    const Field& field = find_field(fields, path, where);
    if (!std::visit([&json = member](auto* v) { return read(json, *v); }, field.value))
      throw ConfigError(fmt::format("{}: {} takes {}, not {}", where, path, type_name(field), member.dump()));
    check_rule(field, where);
  }
}

}  // namespace

Json fields_to_json(const std::vector<Field>& fields) {
  Json root = Json::object();
  for (const Field& field : fields) {
    Json* object = &root;
    std::string_view path = field.path;
    for (size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
      object = &(*object)[std::string(path.substr(0, dot))];
      path.remove_prefix(dot + 1);
    }
    (*object)[std::string(path)] = std::visit([](auto* v) { return to_json(*v); }, field.value);
  }
  return root;
}

void fields_from_json(const std::vector<Field>& fields, const Json& json, std::string_view where) {
  if (!json.is_object()) throw ConfigError(fmt::format("{}: a config is a JSON object, not {}", where, json.type_name()));
  read_object(fields, json, "", where);
}

std::string fields_to_json_text(const std::vector<Field>& fields, int indent) { return fields_to_json(fields).dump(indent); }

void fields_from_json_text(const std::vector<Field>& fields, std::string_view text, std::string_view where) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) throw ConfigError(fmt::format("{}: not valid JSON", where));
  fields_from_json(fields, json, where);
}

}  // namespace fm
