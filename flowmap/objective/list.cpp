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

template <class Entry> constexpr bool has_published = requires { { Entry::published() } -> std::same_as<Entry>; };

template <class Entry> void take_published(Entry& entry) {
  if constexpr (!has_published<Entry>) {
    throw ConfigError(fmt::format("objective_preset published: {} has no published settings beside its defaults: choose plain", Entry::name));
  } else {
    Entry plain, published = Entry::published();
    const std::vector<Field> own = list_fields(entry), before = list_fields(plain), after = list_fields(published);
    for (std::size_t i = 0; i < own.size(); ++i)
      if (to_text(own[i]) == to_text(before[i])) set_from_text(own[i], to_text(after[i]), "objective_preset");
  }
}

}  // namespace

std::vector<std::string> objective_names() { return names_of(static_cast<const ObjectiveList*>(nullptr)); }

Objective ObjectiveConfig::chosen(const std::string& keys) const {
  std::optional<Objective> out;
  const auto take = [&](const auto& entry) {
    if (entry.name == name) out = make_objective(entry, fmt::format("{}.{}", keys, entry.name));
  };
  std::apply([&](const auto&... entry) { (take(entry), ...); }, entries);
  if (!out) throw ConfigError(fmt::format("objective '{}': known are {}", name, fmt::join(objective_names(), ", ")));
  return *out;
}

void ObjectiveConfig::take_preset() {
  if (preset != "published") return;
  std::apply([&](auto&... entry) { ((entry.name == name ? take_published(entry) : void()), ...); }, entries);
}

void ObjectiveConfig::set_null_label(std::int64_t label) {
  std::apply([&](auto&... entry) { ((entry.labels.null_label = label), ...); }, entries);
}

}  // namespace fm
