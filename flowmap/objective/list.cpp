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

void ObjectiveConfig::set_null_label(std::int64_t label) {
  std::apply([&](auto&... entry) { ((entry.labels.null_label = label), ...); }, entries);
}

}  // namespace fm
