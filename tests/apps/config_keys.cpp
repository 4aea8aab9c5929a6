// The keys of a recipe. Each has the default and the range that golden/config_keys.txt lists, is read back as it was written, and is refused outside of
// its range. Config files depend on keys, defaults and ranges, so change the list together with them
// (FLOWMAP_WRITE_KEYS=1 build/tests/test_apps_config_keys writes it).
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/toml.h"
#include "flowmap/training/chain/recipe.h"
#include "nn/config/json.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/error_of.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr const char* list_file = FM_TESTS_FOLDER "/golden/config_keys.txt";

std::string line_of(const Field& field) {
  const std::string rule = rule_text(field), flag = field.rule.flag;
  return fmt::format("{} = {}{}{}", field.path, toml_value(field), rule.empty() ? "" : "  [" + rule + "]", flag.empty() ? "" : "  --" + flag);
}

// A value that the field's rule allows and that is not the default.
std::string other_text(const Field& field) {
  const Rule& rule = field.rule;
  const auto number = [&](double now, double step) {
    const double up = now + step, down = now - step;
    return up <= rule.high ? up : down;
  };
  const auto word = [&](const std::string& now) {
    for (const std::string& choice : rule.choices)
      if (choice != now && !choice.empty()) return choice;
    return std::string("x y");
  };
  if (auto* const* b = std::get_if<bool*>(&field.value)) return **b ? "false" : "true";
  if (auto* const* i = std::get_if<std::int64_t*>(&field.value)) return fmt::format("{}", static_cast<std::int64_t>(number(static_cast<double>(**i), 1)));
  if (auto* const* d = std::get_if<double*>(&field.value)) return fmt::format("{}", number(**d, 0.0625));
  if (auto* const* s = std::get_if<std::string*>(&field.value)) return word(**s);
  if (std::holds_alternative<std::vector<std::string>*>(field.value)) return rule.choices.empty() ? "x,y" : rule.choices.back();
  return rule.high >= 8 ? "7,8,7" : fmt::format("{}", rule.high);
}

// A line without its choices, and the set of its choices: lists of objectives, networks and spaces may grow.
std::pair<std::string, std::set<std::string>> taken_apart(const std::string& line) {
  const std::size_t begin = line.rfind("  ["), end = line.find(']', begin == std::string::npos ? 0 : begin);
  if (begin == std::string::npos || line.substr(begin, end - begin).find('|') == std::string::npos) return {line, {}};
  std::istringstream words(line.substr(begin + 3, end - begin - 3));
  std::set<std::string> out;
  for (std::string word; std::getline(words, word, '|');) out.insert(word);
  return {line.substr(0, begin) + line.substr(end + 1), out};
}

bool is_number(const Field& field) {
  return std::holds_alternative<std::int64_t*>(field.value) || std::holds_alternative<double*>(field.value);
}

}  // namespace

TEST_CASE("each key has the default and the range that are listed in golden/config_keys.txt") {
  Recipe recipe;
  const std::vector<Field> fields = list_fields(recipe);
  std::map<std::string, std::string> now;
  std::string text;
  for (const Field& field : fields) {
    CHECK_MESSAGE(now.emplace(field.path, line_of(field)).second, field.path);      // no key occurs twice
    CHECK_MESSAGE(!field.help.empty(), field.path);
    text += line_of(field) + "\n";
  }
  if (std::getenv("FLOWMAP_WRITE_KEYS") != nullptr) write_atomically(list_file, text);
  std::istringstream listed(read_file(list_file));
  std::set<std::string> known;
  for (std::string line; std::getline(listed, line);) {
    const std::string key = line.substr(0, line.find(" = "));
    known.insert(key);
    CHECK_MESSAGE(now.contains(key), key);
    if (!now.contains(key)) continue;
    const auto listed_words = taken_apart(line), words = taken_apart(now[key]);
    CHECK(words.first == listed_words.first);
    CHECK_MESSAGE(std::includes(words.second.begin(), words.second.end(), listed_words.second.begin(), listed_words.second.end()), now[key]);
  }
  CHECK(known.size() > 300);
  for (const auto& one : now)
    if (!known.contains(one.first)) MESSAGE("not listed yet in tests/golden/config_keys.txt: ", one.second);
}

TEST_CASE("every key survives writing and reading, as TOML and as the JSON of a checkpoint") {
  Recipe changed, back;
  const std::vector<Field> fields = list_fields(changed), others = list_fields(back);
  for (const Field& field : fields) {
    const std::string before = to_text(field);
    set_from_text(field, other_text(field), "a test");
    CHECK_MESSAGE(to_text(field) != before, field.path);
  }
  load_toml_text(others, to_toml(fields), "changed.toml");
  for (std::size_t i = 0; i < fields.size(); ++i) CHECK_MESSAGE(to_text(others[i]) == to_text(fields[i]), fields[i].path);
  CHECK(fields_to_json(others) == fields_to_json(fields));
  CHECK(toml_changes(to_toml(fields), to_toml(others)).empty());
  Recipe fresh;
  CHECK(toml_changes(to_toml(list_fields(fresh)), to_toml(fields)).size() == fields.size());
}

TEST_CASE("a value outside of a key's range is refused with the key's name; the ends of the range are accepted") {
  Recipe recipe;
  for (const Field& field : list_fields(recipe)) {
    CAPTURE(field.path);
    const Rule& rule = field.rule;
    const std::string before = to_text(field);
    const auto refused = [&](const std::string& value) {
      const std::string error = error_of<ConfigError>([&] { set_from_text(field, value, "a test"); });
      CHECK_MESSAGE(has(error, field.path + " "), error);
    };
    if (!rule.choices.empty()) refused("no such word");
    if (!is_number(field)) continue;
    const bool whole = std::holds_alternative<std::int64_t*>(field.value);
    const auto text = [&](double value) { return whole ? fmt::format("{}", static_cast<std::int64_t>(value)) : fmt::format("{}", value); };
    if (std::isfinite(rule.low)) {
      refused(text(whole ? rule.low - 1 : std::nextafter(rule.low, -HUGE_VAL)));
      if (rule.low_is_open) refused(text(rule.low));
      else CHECK_NOTHROW(set_from_text(field, text(rule.low), "a test"));
    }
    if (std::isfinite(rule.high)) {
      refused(text(whole ? rule.high + 1 : std::nextafter(rule.high, HUGE_VAL)));
      CHECK_NOTHROW(set_from_text(field, text(rule.high), "a test"));
    }
    if (!whole) refused("inf"), refused("nan");
    refused("word");
    set_from_text(field, before, "a test");
  }
}
