// Parses the text after --data: NAME[:PATH][?key=value,key=value]. A comma between braces does not separate keys: "?test=val-{0,3..5}.tar".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fm {

struct DataSpec {
  std::string text, name;
  std::optional<std::string> path;
  std::map<std::string, std::string> options;

  // Each returns the value of an option, or `fallback` if it is missing, and removes the option. A ConfigError names text, key and value.
  std::int64_t number(const std::string& key, std::int64_t fallback, std::int64_t low, std::int64_t high);
  std::string word(const std::string& key, const std::vector<std::string>& words);  // one of `words`; the first if the option is missing
  std::string string(const std::string& key, const std::string& fallback = {});     // ConfigError if the value is empty
  // Returns the path. ConfigError "data 'folder': write folder:PATH?size=N" if it is missing.
  std::string needed_path(const std::string& usage) const;
  void refuse_path(const std::string& why) const;  // ConfigError if there is a path
};

DataSpec parse_data_spec(const std::string& text);

}  // namespace fm
