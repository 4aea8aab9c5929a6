#include "flowmap/objective/list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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

template <class Entry> std::vector<std::pair<std::string, std::string>> published_values(Entry entry) {
  std::vector<std::pair<std::string, std::string>> out;
  if constexpr (is_published<Entry>) {
    Entry plain, published = Entry::published();
    const std::vector<Field> own = list_fields(entry), before = list_fields(plain), after = list_fields(published);
    for (std::size_t i = 0; i < own.size(); ++i)
      if (to_text(own[i]) == to_text(before[i]) && to_text(after[i]) != to_text(before[i])) out.emplace_back(own[i].path, to_text(after[i]));
  }
  return out;
}

template <class Entry> Entry with_values(Entry entry, const std::vector<std::pair<std::string, std::string>>& values) {
  const std::vector<Field> fields = list_fields(entry);
  for (const auto& [path, value] : values) set_from_text(find_field(fields, path, "objective_preset"), value, "objective_preset");
  return entry;
}

}  // namespace

std::vector<std::string> objective_names() { return names_of(static_cast<const ObjectiveList*>(nullptr)); }

Objective ObjectiveConfig::chosen(const std::string& keys) const {
  std::optional<Objective> out;
  const auto values = preset_values();
  const auto take = [&](const auto& entry) {
    if (entry.name == name) out = make_objective(with_values(entry, values), fmt::format("{}.{}", keys, entry.name));
  };
  std::apply([&](const auto&... entry) { (take(entry), ...); }, entries);
  if (!out) throw ConfigError(fmt::format("there is no objective '{}': known are {}", name, fmt::join(objective_names(), ", ")));
  if (preset == "published" && values.empty()) out->remark = "published: as plain";
  for (const auto& [path, value] : values) out->remark += fmt::format("{}{} {}", out->remark.empty() ? preset + ": " : ", ", path, value);
  return *out;
}

std::vector<std::pair<std::string, std::string>> ObjectiveConfig::preset_values() const {
  std::vector<std::pair<std::string, std::string>> out;
  if (preset != "published") return out;
  std::apply([&](const auto&... entry) { ((entry.name == name ? void(out = published_values(entry)) : void()), ...); }, entries);
  return out;
}

void ObjectiveConfig::set_null_label(std::int64_t label) {
  std::apply([&](auto&... entry) { ((entry.labels.null_label = label), ...); }, entries);
}

}  // namespace fm
