// Converts the values of config fields from and to text.
#include "nn/config/visit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

template <class... Fs>
struct Overload : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overload(Fs...) -> Overload<Fs...>;

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Splits "a, b" or "[a, b]" into its elements. An empty text is an empty list.
std::vector<std::string> split_list(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = trim(text.substr(1, text.size() - 2));
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    pieces.emplace_back(trim(text.substr(0, comma)));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return pieces;
}

bool parse_bool(std::string_view text, bool& value) {
  for (const char* word : {"true", "yes", "on", "1"})
    if (text == word) return value = true, true;
  for (const char* word : {"false", "no", "off", "0"})
    if (text == word) return value = false, true;
  return false;
}

double suffix_factor(std::string_view suffix) {
  static constexpr std::pair<std::string_view, double> table[] = {
      {"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}};
  for (const auto& [name, factor] : table)
    if (suffix == name) return factor;
  return 0;
}

template <class T, class Parse>
bool parse_list(std::string_view text, std::vector<T>& out, Parse parse) {
  std::vector<T> values;
  for (const std::string& piece : split_list(text)) {
    T value{};
    if (!parse(piece, value)) return false;
    values.push_back(value);
  }
  out = std::move(values);
  return true;
}

bool parse_into(const FieldValue& target, std::string_view text) {
  return std::visit(
      Overload{[&](bool* v) { return parse_bool(trim(text), *v); }, [&](int64_t* v) { return parse_integer(trim(text), *v); },
               [&](double* v) { return parse_number(trim(text), *v); }, [&](std::string* v) { return *v = std::string(text), true; },
               [&](std::vector<int64_t>* v) { return parse_list(text, *v, parse_integer); },
               [&](std::vector<double>* v) { return parse_list(text, *v, parse_number); },
               [&](std::vector<std::string>* v) { return *v = split_list(text), true; }},
      target);
}

std::string number_text(double x) { return fmt::format("{}", x); }  // the shortest text that reads back to the same bits

// 1e9, 1e-4: %g without the padding of its exponent.
std::string short_number(double x) {
  std::string text = fmt::format("{:g}", x);
  for (const auto& [from, to] : {std::pair{"e+0", "e"}, std::pair{"e-0", "e-"}, std::pair{"e+", "e"}})
    if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, std::string_view(from).size(), to);
  return text;
}

// Damerau-Levenshtein distance with swaps of neighbors only.
int edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<int> before(width), last(width), row(width);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = narrow<int>(i);
    for (size_t j = 1; j < width; ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

void check_number(const Field& field, double x, const std::string& shown, std::string_view where) {
  const Rule& rule = field.rule;
  if (!std::isfinite(x)) throw ConfigError(fmt::format("{}: {} = {} is not a finite number", where, field.path, shown));
  if (x > rule.high || x < rule.low || (rule.low_is_open && x == rule.low))
    throw ConfigError(fmt::format("{}: {} = {} is out of range ({})", where, field.path, shown, rule_text(field)));
}

void check_choice(const Field& field, const std::string& value, std::string_view where) {
  const auto& choices = field.rule.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  const std::string hint = nearest(value, choices);
  throw ConfigError(fmt::format("{}: {} = '{}' is not one of {}{}", where, field.path, value, rule_text(field),
                                hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint)));
}

}  // namespace

bool parse_integer(std::string_view text, int64_t& value) {
  const char* end = text.data() + text.size();
  if (const auto [stop, error] = std::from_chars(text.data(), end, value); error == std::errc() && stop == end) return true;
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return false;
  const double factor = suffix_factor(std::string_view(stop, size_t(end - stop)));
  number *= factor;
  // Above 2^53 doubles skip integers. A factor of 0 is an unknown suffix.
  if (factor == 0 || !(std::abs(number) <= 0x1p53) || number != std::floor(number)) return false;
  value = int64_t(number);
  return true;
}

bool parse_number(std::string_view text, double& value) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !std::isnan(value);
}

void check_rule(const Field& field, std::string_view where) {
  std::visit(
      Overload{[](bool*) {},  //
               [&](int64_t* v) { check_number(field, double(*v), fmt::format("{}", *v), where); },
               [&](double* v) { check_number(field, *v, number_text(*v), where); }, [&](std::string* v) { check_choice(field, *v, where); },
               [&](std::vector<int64_t>* v) {
                 for (int64_t x : *v) check_number(field, double(x), fmt::format("{}", x), where);
               },
               [&](std::vector<double>* v) {
                 for (double x : *v) check_number(field, x, number_text(x), where);
               },
               [&](std::vector<std::string>* v) {
                 for (const auto& x : *v) check_choice(field, x, where);
               }},
      field.value);
}

void check_rules(const std::vector<Field>& fields, std::string_view where) {
  for (const Field& field : fields) check_rule(field, where);
}

void check_relations(const std::vector<Field>& fields, std::string_view where) {
  for (const Field& field : fields) {
    const auto* value = std::get_if<int64_t*>(&field.value);
    if (!value || !field.rule.whole || (**value != 0 && *field.rule.whole % **value == 0)) continue;
    const std::string group = field.group();
    throw ConfigError(fmt::format("{}: {} = {} does not divide {}{}{} = {}", where, field.path, **value, group, group.empty() ? "" : ".",
                                  field.rule.whole_name, *field.rule.whole));
  }
}

void set_from_text(const Field& field, std::string_view text, std::string_view where) {
  if (auto* const* words = std::get_if<std::vector<std::string>*>(&field.value); words && field.rule.repeated)
    (*words)->emplace_back(text);
  else if (!parse_into(field.value, text))
    throw ConfigError(fmt::format("{}: {} takes {}, not '{}'", where, field.path, type_name(field), text));
  check_rule(field, where);
}

std::string to_text(const Field& field) {
  return std::visit(Overload{[](bool* v) { return std::string(*v ? "true" : "false"); },  //
                             [](int64_t* v) { return fmt::format("{}", *v); }, [](double* v) { return number_text(*v); },
                             [](std::string* v) { return *v; }, [](auto* v) { return fmt::format("{}", fmt::join(*v, ",")); }},
                    field.value);
}

std::string type_name(const Field& field) {
  static constexpr std::array names{"true or false",      "an integer",        "a number",       "text",
                                    "a list of integers", "a list of numbers", "a list of words"};
  static_assert(names.size() == std::variant_size_v<FieldValue>);
  return names[field.value.index()];
}

static std::string range_text(const Rule& rule) {
  if (!rule.bounded()) return "";
  if (std::isinf(rule.high)) return fmt::format("{} {}", rule.low_is_open ? ">" : ">=", short_number(rule.low));
  if (std::isinf(rule.low)) return fmt::format("<= {}", short_number(rule.high));
  return fmt::format("{} to {}", short_number(rule.low), short_number(rule.high));
}

std::string rule_text(const Field& field) {
  const Rule& rule = field.rule;
  if (!rule.choices.empty()) {  // an empty choice is not listed: the help text explains its meaning
    std::vector<std::string> named = rule.choices;
    std::erase(named, "");
    return fmt::format("{}", fmt::join(named, "|"));
  }
  const std::string range = range_text(rule);
  if (!rule.whole) return range;
  return fmt::format("{}{}divides {}", range, range.empty() ? "" : ", ", rule.whole_name);
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  int best_distance = std::max(2, narrow<int>(word.size()) / 3) + 1;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best_distance < narrow<int>(word.size()) ? best : "";  // a candidate in which every letter changes is not close
}

const Field& find_field(const std::vector<Field>& fields, std::string_view path, std::string_view where) {
  std::vector<std::string> paths;
  for (const Field& field : fields) {
    if (field.path == path) return field;
    paths.push_back(field.path);
  }
  std::string hint;  // first the same leaf in another table ("dim" for "model.dim"), then the nearest spelling
  const std::string_view leaf = path.substr(path.find_last_of('.') + 1);
  for (const Field& field : fields)
    if (hint.empty() && field.leaf() == leaf) hint = field.path;
  if (hint.empty()) hint = nearest(path, paths);
  for (const Field& field : fields)
    if (hint.empty() && edit_distance(leaf, field.leaf()) <= narrow<int>(leaf.size()) / 4) hint = field.path;
  throw ConfigError(fmt::format("{}: unknown key '{}'; {}", where, path,
                                hint.empty() ? std::string("--help lists all keys") : fmt::format("did you mean '{}'?", hint)));
}

}  // namespace fm
