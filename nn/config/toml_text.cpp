#include "nn/config/toml_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace fm {
namespace {

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (uint8_t(c) < 32 || c == 127)
      out += fmt::format("\\u{:04X}", int(uint8_t(c)));          // fits: a byte
    else
      out += c;
  }
  return out + '"';
}

std::string value_text(bool v) { return v ? "true" : "false"; }
std::string value_text(int64_t v) { return fmt::format("{}", v); }
std::string value_text(const std::string& v) { return toml_string(v); }
std::string value_text(double v) {
  std::string text = fmt::format("{}", v);
  return std::isfinite(v) && text.find_first_of(".e") == std::string::npos ? text + ".0" : text;  // TOML floats need a point
}
template <class T>
std::string value_text(const std::vector<T>& values) {
  std::string out = "[";
  for (const T& v : values) out += (out.size() > 1 ? ", " : "") + value_text(v);
  return out + "]";
}

std::string comment(const Field& field) {
  std::string text = field.help;
  if (!field.rule.unit.empty()) text += fmt::format(" [{}]", field.rule.unit);
  if (const std::string rule = rule_text(field); !rule.empty()) text += fmt::format(" ({})", rule);
  return text;
}

void write_group(const std::vector<Field>& fields, const std::string& group, std::string& out) {
  size_t width = 0;
  for (const Field& field : fields)
    if (field.group() == group) width = std::max(width, std::min<size_t>(field.leaf().size() + toml_value(field).size() + 3, 40));
  for (const Field& field : fields) {
    if (field.group() != group) continue;
    const std::string assignment = fmt::format("{} = {}", field.leaf(), toml_value(field));
    out += fmt::format("{:<{}}  # {}\n", assignment, width, comment(field));
  }
}

}  // namespace

std::map<std::string, std::string> toml_settings(std::string_view toml) {
  std::map<std::string, std::string> values;
  std::string table;
  while (!toml.empty()) {
    const size_t end = std::min(toml.find('\n'), toml.size());
    std::string_view line = toml.substr(0, end);
    toml.remove_prefix(std::min(end + 1, toml.size()));
    if (const size_t comment = line.find("  # "); comment != std::string_view::npos) line = line.substr(0, comment);
    while (!line.empty() && line.back() == ' ') line.remove_suffix(1);
    const size_t equals = line.find(" = ");
    if (!line.empty() && line.front() == '[')
      table = std::string(line.substr(1, line.find(']') - 1)) + ".";
    else if (equals != std::string_view::npos)
      values[table + std::string(line.substr(0, equals))] = line.substr(equals + 3);
  }
  return values;
}

std::string toml_value(const Field& field) {
  return std::visit([](auto* v) { return value_text(*v); }, field.value);
}

std::string to_toml(const std::vector<Field>& fields) {
  std::string out;
  write_group(fields, "", out);  // TOML requires the bare keys before the first table
  std::vector<std::string> done{""};
  for (const Field& field : fields) {
    const std::string group = field.group();
    if (std::find(done.begin(), done.end(), group) != done.end()) continue;
    done.push_back(group);
    out += fmt::format("\n[{}]{}\n", group, field.group_help.empty() ? "" : "  # " + field.group_help);
    write_group(fields, group, out);
  }
  return out;
}

std::vector<std::string> toml_changes(std::string_view before, std::string_view after) {
  const auto old_values = toml_settings(before), new_values = toml_settings(after);
  std::vector<std::string> changes;
  for (const auto& [key, value] : new_values) {
    const auto old_value = old_values.find(key);
    if (old_value == old_values.end())
      changes.push_back(fmt::format("{} is new: {}", key, value));
    else if (old_value->second != value)
      changes.push_back(fmt::format("{} was {}, is {}", key, old_value->second, value));
  }
  for (const auto& [key, value] : old_values)
    if (new_values.count(key) == 0) changes.push_back(fmt::format("{} is gone, was {}", key, value));
  return changes;
}

}  // namespace fm
