#include "nn/config/removed_options.h"

#include <algorithm>

#include "nn/config/toml_text.h"

namespace fm {

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
