#include "flowmap/objective/list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "tensor/error.h"

namespace fm {
namespace {

template <class... Entry>
  requires(ObjectiveEntry<Entry> && ...)
std::vector<std::string> names_of(const std::tuple<Entry...>*) {
  return {std::string(Entry::name)...};
}

template <class Entry> constexpr bool is_published = requires { { Entry::published() } -> std::same_as<Entry>; };

template <class Entry> constexpr bool has_ports = requires { Entry::ports(); };

template <class Entry> std::vector<std::string> ports_of() {
  std::vector<std::string> out;
  if constexpr (has_ports<Entry>)
    for (const auto& [name, settings] : Entry::ports()) out.push_back(name);
  return out;
}

// The settings of a preset; nothing if the entry has none of this name.
template <class Entry> std::optional<Entry> settings_of(const std::string& preset) {
  if constexpr (is_published<Entry>)
    if (preset == "published") return Entry::published();
  if constexpr (has_ports<Entry>)
    for (const auto& [name, settings] : Entry::ports())
      if (name == preset) return settings;
  return {};
}

// The settings that have their default in `entry` and another value in the preset.
template <class Entry> std::vector<std::pair<std::string, std::string>> values_of(Entry entry, const std::string& preset) {
  std::vector<std::pair<std::string, std::string>> out;
  std::optional<Entry> chosen = settings_of<Entry>(preset);
  if (!chosen) return out;
  Entry plain;
  const std::vector<Field> own = list_fields(entry), before = list_fields(plain), after = list_fields(*chosen);
  for (std::size_t i = 0; i < own.size(); ++i)
    if (to_text(own[i]) == to_text(before[i]) && to_text(after[i]) != to_text(before[i])) out.emplace_back(own[i].path, to_text(after[i]));
  return out;
}

template <class... Entry> std::vector<std::string> all_ports(const std::tuple<Entry...>*) {
  std::vector<std::string> out;
  const auto add = [&](const std::vector<std::string>& names) { out.insert(out.end(), names.begin(), names.end()); };
  (add(ports_of<Entry>()), ...);
  return out;
}

// Refuses a port of another entry.
template <class Entry> void check_preset(const Entry& entry, const std::string& preset) {
  const std::vector<std::string> own = ports_of<Entry>();
  if (preset == "plain" || preset == "published" || std::find(own.begin(), own.end(), preset) != own.end()) return;
  throw ConfigError(fmt::format("objective preset {}: {} has the presets plain and published{}{}", preset, entry.name, own.empty() ? "" : ", ", fmt::join(own, ", ")));
}

template <class Entry> Entry with_values(Entry entry, const std::vector<std::pair<std::string, std::string>>& values) {
  const std::vector<Field> fields = list_fields(entry);
  for (const auto& [path, value] : values) set_from_text(find_field(fields, path, "objective_preset"), value, "objective_preset");
  return entry;
}

}  // namespace

std::vector<std::string> objective_names() { return names_of(static_cast<const ObjectiveList*>(nullptr)); }

std::vector<std::string> objective_presets() {
  std::vector<std::string> out = all_ports(static_cast<const ObjectiveList*>(nullptr));
  out.insert(out.begin(), {"plain", "published"});
  return out;
}

Objective ObjectiveConfig::chosen(const std::string& keys) const {
  std::optional<Objective> out;
  const auto values = preset_values();
  const auto take = [&](const auto& entry) {
    if (entry.name != name) return;
    check_preset(entry, preset);
    out = make_objective(with_values(entry, values), fmt::format("{}.{}", keys, entry.name));
  };
  std::apply([&](const auto&... entry) { (take(entry), ...); }, entries);
  if (!out) throw ConfigError(fmt::format("there is no objective '{}': known are {}", name, fmt::join(objective_names(), ", ")));
  if (preset == "published" && values.empty()) out->remark = "published: as plain";
  for (const auto& [path, value] : values) out->remark += fmt::format("{}{} {}", out->remark.empty() ? preset + ": " : ", ", path, value);
  return *out;
}

std::vector<std::pair<std::string, std::string>> ObjectiveConfig::preset_values() const {
  std::vector<std::pair<std::string, std::string>> out;
  std::apply([&](const auto&... entry) { ((entry.name == name ? void(out = values_of(entry, preset)) : void()), ...); }, entries);
  return out;
}

void ObjectiveConfig::set_null_label(std::int64_t label) {
  std::apply([&](auto&... entry) { ((entry.labels.null_label = label), ...); }, entries);
}

}  // namespace fm
