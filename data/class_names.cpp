#include "data/class_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = char(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Whether a word is an id of WordNet: "n01440764".
bool is_id(std::string_view word) {
  return word.size() == 9 && word[0] == 'n' && std::all_of(word.begin() + 1, word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (const std::string_view line = trimmed(text.substr(0, end)); !line.empty() && line[0] != '#') lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

struct Parts {
  std::string_view id;                           // may be empty
  std::vector<std::string_view> words;
};

Parts parts_of(std::string_view name) {
  Parts p;
  if (is_id(name.substr(0, name.find(' ')))) p.id = name.substr(0, name.find(' ')), name = trimmed(name.substr(p.id.size()));
  while (!name.empty()) {
    const std::size_t comma = std::min(name.find(','), name.size());
    p.words.push_back(trimmed(name.substr(0, comma)));
    name.remove_prefix(std::min(comma + 1, name.size()));
  }
  return p;
}

std::vector<std::int64_t> labels_with(std::string_view text, const std::vector<std::string>& names) {
  std::vector<std::int64_t> whole, part;         // a whole name has priority over a word of another name
  const std::string wanted = lower(text);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Parts p = parts_of(names[i]);
    if (lower(names[i]) == wanted || lower(p.id) == wanted) whole.push_back(std::int64_t(i));
    else if (std::any_of(p.words.begin(), p.words.end(), [&](std::string_view w) { return lower(w) == wanted; })) part.push_back(std::int64_t(i));
  }
  return whole.empty() ? part : whole;
}

bool is_number(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// The part of an error that lists up to five names with the text in them: for "retriever" the kinds of retrievers.
std::string like(std::string_view text, const std::vector<std::string>& names) {
  std::string found;
  int n = 0;
  for (const std::string& name : names)
    if (lower(name).find(lower(text)) != std::string::npos && n++ < 5) found += (found.empty() ? "" : "; ") + short_class_name(name);
  return found.empty() ? "" : fmt::format("; similar names: {}{}", found, n > 5 ? fmt::format(" and {} more", n - 5) : "");
}

}  // namespace

std::vector<std::string> read_class_names(const std::string& file) {
  std::vector<std::string> names = lines_of(file == "imagenet" ? std::string(imagenet_classes()) : read_file(file));
  if (names.empty()) throw ConfigError(fmt::format("class names {}: no lines: give one for each class, in the order of the labels", file));
  return names;
}

std::vector<std::string> read_class_names(const std::string& file, std::int64_t classes) {
  const std::vector<std::string> names = read_class_names(file);
  if (std::ssize(names) != classes)
    throw ConfigError(fmt::format("class names {}: {} lines, but there are {} classes: give a line for each, in the order of the labels", file,
                                  names.size(), classes));
  return names;
}

std::vector<std::string> with_words(std::vector<std::string> names) {
  if (!std::all_of(names.begin(), names.end(), is_id)) return names;
  std::map<std::string_view, std::string> lines;
  const std::vector<std::string> known = lines_of(imagenet_classes());
  for (const std::string& line : known) lines[std::string_view(line).substr(0, 9)] = line;
  for (std::string& name : names)
    if (const auto line = lines.find(name); line != lines.end()) name = line->second;
  return names;
}

std::string short_class_name(const std::string& name) {
  const Parts p = parts_of(name);
  return std::string(p.words.empty() ? p.id : p.words.front());
}

std::int64_t label_named(std::string_view text, const std::vector<std::string>& names, std::int64_t classes) {
  const bool as_label = text.starts_with("label:"), as_name = text.starts_with("name:");
  const std::string_view word = trimmed(text.substr(as_label ? 6 : as_name ? 5 : 0));
  std::int64_t label = -1;
  const bool number = !as_name && is_number(word, label);
  const std::vector<std::int64_t> named = as_label ? std::vector<std::int64_t>{} : labels_with(word, names);
  if (number) {
    if (label < 0 || label >= classes) throw ConfigError(fmt::format("label {}: there are {} classes, 0 to {}", label, classes, classes - 1));
    if (named.empty() || named.front() == label) return label;
    throw ConfigError(fmt::format("class {0}: the class named '{0}' has label {1}, and label {0} is named '{2}': write name:{0} or label:{0}", word,
                                  named.front(), names[std::size_t(label)]));
  }
  if (named.size() == 1) return named.front();
  if (named.size() > 1)
    throw ConfigError(fmt::format("class '{}' is the name of labels {}: give one of these numbers", word, fmt::join(named, " and ")));
  throw ConfigError(fmt::format("labels '{}': no class has that name{}; there are {} classes, 0 to {}{}", word,
                                names.empty() ? " (no names are known: --class-names FILE gives them)" : "", classes, classes - 1,
                                like(word, names)));
}

}  // namespace fm
