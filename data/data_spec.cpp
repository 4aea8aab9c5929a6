#include "data/data_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "tensor/error.h"

namespace fm {
namespace {

// "a=1,b={2,3}" -> "a=1", "b={2,3}".
std::vector<std::string> items_of(const std::string& text) {
  std::vector<std::string> items(1);
  int open = 0;
  for (const char c : text) {
    open += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == ',' && open <= 0) items.emplace_back();
    else items.back() += c;
  }
  return items;
}

}  // namespace

std::int64_t DataSpec::number(const std::string& key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const auto found = options.find(key);
  if (found == options.end()) return fallback;
  const std::string value = found->second;
  options.erase(found);
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (error != std::errc() || end != value.data() + value.size() || n < low || n > high)
    throw ConfigError(fmt::format("data '{}': {} = '{}' is not a whole number in [{}, {}]", text, key, value, low, high));
  return n;
}

std::string DataSpec::word(const std::string& key, const std::vector<std::string>& words) {
  const std::string value = string(key, words.front());
  if (std::find(words.begin(), words.end(), value) == words.end())
    throw ConfigError(fmt::format("data '{}': {} = '{}' is not one of {}", text, key, value, fmt::join(words, ", ")));
  return value;
}

std::string DataSpec::string(const std::string& key, const std::string& fallback) {
  const auto found = options.find(key);
  if (found == options.end()) return fallback;
  const std::string value = found->second;
  options.erase(found);
  if (value.empty()) throw ConfigError(fmt::format("data '{}': {} is empty: give it a value, or leave it out", text, key));
  return value;
}

std::string DataSpec::needed_path(const std::string& usage) const {
  if (!path || path->empty()) throw ConfigError(fmt::format("data '{}': write {}", text, usage));
  return *path;
}

void DataSpec::refuse_path(const std::string& why) const {
  if (path) throw ConfigError(fmt::format("data '{}': {}: it takes no path", text, why));
}

DataSpec parse_data_spec(const std::string& text) {
  DataSpec spec{text, text, {}, {}};
  if (const auto mark = spec.name.rfind('?'); mark != std::string::npos) {
    const std::string rest = spec.name.substr(mark + 1);
    spec.name.resize(mark);
    for (const std::string& item : items_of(rest)) {
      const auto equals = item.find('=');
      if (equals == std::string::npos || equals == 0)
        throw ConfigError(fmt::format("data '{}': '{}' after '?' is not key=value", text, item));
      spec.options[item.substr(0, equals)] = item.substr(equals + 1);
    }
  }
  if (const auto colon = spec.name.find(':'); colon != std::string::npos) {
    spec.path = spec.name.substr(colon + 1);
    spec.name.resize(colon);
  }
  return spec;
}

}  // namespace fm
