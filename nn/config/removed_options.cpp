#include "nn/config/removed_options.h"

#include <algorithm>
#include <iterator>

#include "nn/config/toml_text.h"
#include "nn/config/visit.h"

namespace fm {
namespace {

// True for equal numbers ("0.0" and "0") and equal texts, with or without quotes ("row" and "\"row\"").
bool same_value(std::string_view a, std::string_view b) {
  double x = 0, y = 0;
  if (parse_number(a, x) && parse_number(b, y)) return x == y;
  const auto bare = [](std::string_view s) { return s.size() > 1 && s.front() == '"' && s.back() == '"' ? s.substr(1, s.size() - 2) : s; };
  return bare(a) == bare(b);
}

}  // namespace

bool is_as_before(std::string_view path, std::string_view value) {
  return std::any_of(std::begin(added_options), std::end(added_options), [&](const AddedOption& option) {
    const bool named = option.path.starts_with('.') ? path.ends_with(option.path) : path == option.path;
    return named && same_value(option.before, value);
  });
}

std::vector<std::string> config_changes(std::string_view before, std::string_view after) {
  std::vector<std::string> changes = toml_changes(before, after);
  std::erase_if(changes, [](const std::string& change) {
    const std::string key = change.substr(0, change.find(' ')), added = key + " is new: ";
    if (change.starts_with(added)) return is_as_before(key, std::string_view(change).substr(added.size()));
    return removed_option(key) && change.starts_with(key + " is gone");
  });
  return changes;
}

}  // namespace fm
