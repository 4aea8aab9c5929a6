// Reads TOML. The only file that includes toml++ (slow to compile).
#include "apps/cli/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "nn/config/removed_options.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

bool read(const toml::node& node, bool& v) { return node.is_boolean() && (v = node.as_boolean()->get(), true); }
bool read(const toml::node& node, int64_t& v) { return node.is_integer() && (v = node.as_integer()->get(), true); }
bool read(const toml::node& node, std::string& v) { return node.is_string() && (v = node.as_string()->get(), true); }
bool read(const toml::node& node, double& v) {
  if (node.is_integer()) return v = double(node.as_integer()->get()), true;
  return node.is_floating_point() && (v = node.as_floating_point()->get(), true);
}
template <class T>
bool read(const toml::node& node, std::vector<T>& v) {
  if (!node.is_array()) return false;
  std::vector<T> values(node.as_array()->size());
  for (size_t i = 0; i < values.size(); ++i)
    if (!read(*node.as_array()->get(i), values[i])) return false;
  v = std::move(values);
  return true;
}

std::string shown(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return text.str();
}

const char* suffix_hint(const Field& field, const toml::node& node) {
  int64_t whole = 0;
  const bool with_suffix =
      std::holds_alternative<int64_t*>(field.value) && node.is_string() && parse_integer(node.as_string()->get(), whole);
  return with_suffix ? "; in TOML write 10_000 without quotes" : "";
}

// Whether the line sets a removed option to the value that had no effect. ConfigError if it sets another value.
bool passed_over(const std::vector<Field>& fields, const std::string& path, const toml::node& node, const std::string& line) {
  const RemovedOption* removed = removed_option(path);
  if (!removed || std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.path == path; })) return false;
  if (shown(node) == removed->harmless) return true;
  throw ConfigError(fmt::format("{}: {} was removed: {}; delete the line", line, path, removed->why));
}

using Unknown = std::function<void(const std::string&)>;

bool is_known(const std::vector<Field>& fields, const std::string& path) {
  return std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.path == path; });
}

void read_table(const std::vector<Field>& fields, const toml::table& table, const std::string& prefix, const std::string& where,
                const Unknown& unknown) {
  for (const auto& [name, node] : table) {
    const std::string path = prefix + one_line(name.str());
    if (node.is_table()) {
      read_table(fields, *node.as_table(), path + ".", where, unknown);
      continue;
    }
    const std::string line = fmt::format("{}:{}", where, node.source().begin.line);
    if (passed_over(fields, path, node, line)) continue;
    if (unknown && !is_known(fields, path)) {
      unknown(fmt::format("{}: unknown key '{}'", line, path));
      continue;
    }
    const Field& field = find_field(fields, path, line);
    if (!std::visit([&node = node](auto* v) { return read(node, *v); }, field.value))
      throw ConfigError(fmt::format("{}: {} takes {}, not {}{}", line, path, type_name(field), one_line(shown(node)), suffix_hint(field, node)));
    check_rule(field, line);
  }
}

void load(const std::vector<Field>& fields, std::string_view text, const std::string& where, const Unknown& unknown) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{}:{}: {}", where, error.source().begin.line, one_line(error.description(), 300)));
  }
  read_table(fields, table, "", where, unknown);
}

}  // namespace

void load_toml_text(const std::vector<Field>& fields, std::string_view text, const std::string& where) { load(fields, text, where, {}); }

void load_toml_file(const std::vector<Field>& fields, const std::filesystem::path& path, const Unknown& unknown) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const FileError& error) {  // a missing config is the user's mistake: usage, not data
    throw ConfigError(fmt::format("--config: {}", error.what()));
  }
  load(fields, text, path.string(), unknown);
}

}  // namespace fm
