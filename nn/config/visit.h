// A config lists its fields once, in `visit`. TOML, command line, --help and the JSON in checkpoints are made from this list.
//
//   struct OptimConfig {
//     double lr = 1e-4;
//     int64_t steps = 1000;
//     std::string name = "adamw";
//     template <class V> void visit(V&& v) {
//       v("lr", lr, "peak learning rate", above(0), flag("lr"));
//       v("steps", steps, "optimizer steps", range(0, 4e9));
//       v("name", name, "update rule", one_of({"adamw", "muon"}));
//     }
//   };
//
// A field is a bool, int64_t, double, std::string, a vector of one of the last three, or a struct with its own `visit`. An integer without a
// range(low, high) does not compile, because models multiply and narrow integers, which is safe only within bounds. Numbers must be finite.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fm {

// The allowed values of a field and their display. The arguments of v() after the help text set the members.
struct Rule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_is_open = false;          // true: `low` itself is not allowed
  std::vector<std::string> choices;  // the only allowed values of a string (empty: any)
  std::string unit;                  // "images", "s": shown in the help
  std::string flag;                  // a short command-line name, "lr" for --lr
  std::string alone;                 // the meaning of the flag without a value (empty: the flag needs one)
  bool repeated = false;             // for a list of words: the flag may be given several times, and each adds its value as one element
  bool basic = false;                // listed by -h (if it has a short name) and --help; false: by --help only
  std::string shown;                 // placeholder of the value in the help, "FILE" or "auto|PATH", also used for shell completion (empty: its type or choices)
  const int64_t* whole = nullptr;    // for an integer: the field of the same struct that the value must divide
  std::string whole_name;            // the name of that field

  bool bounded() const { return low != -std::numeric_limits<double>::infinity() || high != std::numeric_limits<double>::infinity(); }
};

struct RangeRule {
  double low, high;
  void add_to(Rule& rule) const { rule.low = low, rule.high = high; }
};
struct HalfOpenRule {  // for a double: no upper bound, but it must be finite
  double low;
  bool low_is_open = false;
  void add_to(Rule& rule) const { rule.low = low, rule.low_is_open = low_is_open; }
};
struct ChoiceRule {
  std::vector<std::string> choices;
  void add_to(Rule& rule) const { rule.choices = choices; }
};
struct UnitRule {
  std::string name;
  void add_to(Rule& rule) const { rule.unit = name; }
};
struct FlagRule {
  std::string name;
  void add_to(Rule& rule) const { rule.flag = name; }
};

struct AloneRule {
  std::string value;
  void add_to(Rule& rule) const { rule.alone = value; }
};
struct DividesRule {
  const int64_t* whole;
  std::string name;
  void add_to(Rule& rule) const { rule.whole = whole, rule.whole_name = name; }
};

inline RangeRule range(double low, double high) { return {low, high}; }  // low <= x <= high
inline HalfOpenRule at_least(double low) { return {low}; }               // for a double: low <= x
inline HalfOpenRule above(double low) { return {low, true}; }            // for a double: low < x
inline ChoiceRule one_of(std::initializer_list<std::string> choices) { return {std::vector<std::string>(choices)}; }
inline UnitRule unit(std::string name) { return {std::move(name)}; }
inline FlagRule flag(std::string name) { return {std::move(name)}; }
struct RepeatedRule {
  void add_to(Rule& rule) const { rule.repeated = true; }
};
inline RepeatedRule repeated() { return {}; }
inline AloneRule alone(std::string value) { return {std::move(value)}; }
struct BasicRule {
  void add_to(Rule& rule) const { rule.basic = true; }
};
inline BasicRule basic() { return {}; }
struct ValueAsRule {
  std::string text;
  void add_to(Rule& rule) const { rule.shown = text; }
};
inline ValueAsRule value_as(std::string text) { return {std::move(text)}; }
// divides(width, "width"): the value must divide the field `width`. check_relations checks it when all fields are known.
inline DividesRule divides(const int64_t& whole, std::string name) { return {&whole, std::move(name)}; }

using FieldValue =
    std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<double>*, std::vector<std::string>*>;

// One leaf of a config. A Field points into its config, so it must not outlive the config.
struct Field {
  std::string path;  // "model.patch.size"
  FieldValue value;
  std::string help;
  Rule rule;
  std::string group_help;  // help text of the struct that holds the field

  std::string group() const {
    const size_t dot = path.find_last_of('.');
    return dot == std::string::npos ? "" : path.substr(0, dot);
  }
  std::string leaf() const { return path.substr(path.find_last_of('.') + 1); }
};

template <class T>
concept FieldLeaf = std::is_same_v<T, bool> || std::is_same_v<T, int64_t> || std::is_same_v<T, double> || std::is_same_v<T, std::string> ||
    std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<std::string>>;

template <class T>
inline constexpr bool holds_integers = std::is_same_v<T, int64_t> || std::is_same_v<T, std::vector<int64_t>>;

// The visitor that flattens nested structs to leaves with dotted paths.
class FieldLister {
 public:
  explicit FieldLister(std::vector<Field>& out, std::string prefix = "", std::string group_help = "")
      : out_(out), prefix_(std::move(prefix)), group_help_(std::move(group_help)) {}

  template <class T, class... Rules>
  void operator()(std::string_view name, T& value, std::string_view help, const Rules&... rules) {
    if constexpr (FieldLeaf<T>) {
      static_assert(!holds_integers<T> || (std::is_same_v<Rules, RangeRule> || ...), "an integer in a config needs range(low, high)");
      Field field{prefix_ + std::string(name), FieldValue(&value), std::string(help), {}, group_help_};
      (rules.add_to(field.rule), ...);
      out_.push_back(std::move(field));
    } else {
      static_assert(!std::is_arithmetic_v<T>, "a number in a config is an int64_t or a double");
      FieldLister inner(out_, prefix_ + std::string(name) + ".", std::string(help));
      value.visit(inner);
    }
  }

 private:
  std::vector<Field>& out_;
  std::string prefix_, group_help_;
};

// Returns the leaves of a config in the order of its `visit`.
template <class C>
std::vector<Field> list_fields(C& config) {
  std::vector<Field> fields;
  FieldLister lister(fields);
  config.visit(lister);
  return fields;
}

// ---- working on a listed field --------------------------------------------------------------------------------------------------

// Reads `text` ("1e-4", "10k", "128Ki", "true", "a,b,c") into the field and checks its rule. `where` begins the error message
// ("--lr", "a.toml:3"). Throws ConfigError.
void set_from_text(const Field& field, std::string_view text, std::string_view where);

// check_rule and check_rules throw ConfigError if a field's value breaks its rule. check_relations checks rules between two fields (`divides`): call it
// only when all fields have their final values.
void check_rule(const Field& field, std::string_view where);
void check_rules(const std::vector<Field>& fields, std::string_view where);
void check_relations(const std::vector<Field>& fields, std::string_view where);

// Returns the config if it keeps all rules. Else throws a ConfigError that names `where` (the model's name), the field, its value and the rule.
template <class C>
C checked_config(C config, std::string_view where) {
  const std::vector<Field> fields = list_fields(config);
  check_rules(fields, where);
  check_relations(fields, where);
  return config;
}

// Returns the value as text, which set_from_text reads back to the same bits. Elements of lists are joined by commas.
std::string to_text(const Field& field);

// "an integer", "a number", "text", "a list of integers" ...
std::string type_name(const Field& field);

// "1 to 1e9", "> 0", "1 to 64, divides width", "jvp|fd", or empty.
std::string rule_text(const Field& field);

// Reads an integer with an optional suffix: k M G T (powers of 1000), Ki Mi Gi Ti (powers of 1024). "1.5k" and "2e3" are integers too. False for
// any other text.
bool parse_integer(std::string_view text, int64_t& value);
// Reads a number or inf, but not nan. (check_rule rejects inf.) False for any other text.
bool parse_number(std::string_view text, double& value);

// Returns the field with this path. Throws ConfigError that suggests the nearest path.
const Field& find_field(const std::vector<Field>& fields, std::string_view path, std::string_view where);

// Returns the candidate with the fewest edits from `word` (swapping neighbors is one edit), or an empty text if none is close.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace fm
