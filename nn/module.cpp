#include "nn/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {
thread_local bool shapes_only = false;

// A name split at its first number between dots: "blocks.12.attn.qkv.bias" is {"blocks.", ".attn.qkv.bias", 12}; -1 without a number.
struct Numbered {
  std::string before, after;
  std::int64_t number = -1;
};

Numbered numbered(const std::string& name) {
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    std::int64_t n = -1;
    const char* const begin = name.data() + dot + 1;
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), n);
    if (error == std::errc() && n >= 0 && *end == '.') return {name.substr(0, dot + 1), end, n};
  }
  return {name, "", -1};
}

// "0-3, 7"
std::string ranges(const std::vector<std::int64_t>& numbers) {
  std::string out;
  for (std::size_t i = 0, j = 0; i < numbers.size(); i = j) {
    for (j = i + 1; j < numbers.size() && numbers[j] == numbers[j - 1] + 1;) ++j;
    out += (i ? ", " : "") + std::to_string(numbers[i]) + (j > i + 1 ? "-" + std::to_string(numbers[j - 1]) : "");
  }
  return out;
}

// Joins names with commas. Names that differ only in their first number become one, "blocks.{0-27}.attn.qkv.bias", so that the error for a model
// of the wrong size stays short.
std::string join(const std::vector<std::string>& names) {
  std::vector<std::pair<Numbered, std::vector<std::int64_t>>> groups;
  std::unordered_map<std::string, std::size_t> known;
  for (const std::string& name : names) {
    const Numbered n = numbered(name);
    const auto [at, added] = known.emplace(n.before + '\n' + n.after, groups.size());
    if (added) groups.push_back({n, {}});
    groups[at->second].second.push_back(n.number);
  }
  constexpr std::size_t shown = 12;                    // a file of another model misses hundreds
  std::string out;
  for (std::size_t i = 0; i < std::min(groups.size(), shown); ++i) {
    const auto& [n, numbers] = groups[i];
    const std::string number = numbers.size() > 1 ? "{" + ranges(numbers) + "}" : n.number < 0 ? "" : std::to_string(n.number);
    out += (out.empty() ? "" : ", ") + n.before + number + n.after;
  }
  if (groups.size() > shown) out += " and " + std::to_string(groups.size() - shown) + " more";
  return out;
}
}  // namespace

Parameter make_parameter(const Shape& shape, bool trainable) {
  if (!shapes_only) return {Tensor::empty(shape), trainable};
  return {Tensor::zeros(Shape::filled(shape.rank(), 1)).expand(shape), trainable};
}

ShapesOnly::ShapesOnly() : outer_(shapes_only) { shapes_only = true; }
ShapesOnly::~ShapesOnly() { shapes_only = outer_; }
bool ShapesOnly::active() { return shapes_only; }

namespace detail {

namespace {

// "element 3 of fc1.weight is nan" for the first number that is not finite; empty if all are finite.
std::string not_finite(const std::string& name, const Tensor& t) {
  if (!is_floating(t.dtype()) || all_finite(t)) return "";
  const std::vector<double> values = t.to_vector<double>();
  const auto at = std::find_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); });
  return fmt::format("element {} of {} is {}", at - values.begin(), name, at == values.end() ? 0.0 : *at);
}

// Checks that all given tensors fit and are finite, then calls take(entry, tensor) for each.
template <class F> void match_entries(const std::vector<StateEntry>& own, const StateDict& from, bool strict, F take) {
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, tensor] : from) given[name] = &tensor;
  std::vector<std::string> missing, misshaped, mistyped, unexpected;
  for (const StateEntry& e : own) {
    const auto it = given.find(e.name);
    if (it == given.end()) missing.push_back(e.name);
    else if (it->second->shape() != e.tensor->shape())
      misshaped.push_back(e.name + " (has " + to_string(it->second->shape()) + ", the model needs " + to_string(e.tensor->shape()) + ")");
    else if (is_floating(it->second->dtype()) != is_floating(e.tensor->dtype()))  // for example quantized weights, whose scale is another tensor
      mistyped.push_back(e.name + " (has " + name_of(it->second->dtype()) + ", the model needs " + name_of(e.tensor->dtype()) + ")");
  }
  std::unordered_map<std::string, bool> known;
  for (const StateEntry& e : own) known[e.name] = true;
  for (const auto& [name, tensor] : from)
    if (!known.count(name)) unexpected.push_back(one_line(name));
  if (!strict) missing.clear(), unexpected.clear();
  if (!missing.empty() || !misshaped.empty() || !mistyped.empty() || !unexpected.empty()) {
    std::string message = "load_state: the stored tensors do not fit the model";
    if (!missing.empty()) message += "; missing: " + join(missing);
    if (!unexpected.empty()) message += "; unexpected: " + join(unexpected);
    if (!misshaped.empty()) message += "; other shape: " + join(misshaped);
    if (!mistyped.empty()) message += "; other type: " + join(mistyped);
    throw FileError(message);
  }
  for (const StateEntry& e : own)
    if (const auto it = given.find(e.name); it != given.end())
      if (const std::string bad = not_finite(e.name, *it->second); !bad.empty())
        throw NotFiniteError("load_state: " + bad + ": these weights are damaged, or of a training that diverged; take an earlier checkpoint or fetch the file again");
  for (const StateEntry& e : own)
    if (const auto it = given.find(e.name); it != given.end()) take(e, *it->second);
}

}  // namespace

void load_entries(const std::vector<StateEntry>& own, const StateDict& from, bool strict) {
  match_entries(own, from, strict, [](const StateEntry& e, const Tensor& t) { e.tensor->copy_from(t); });
}

void adopt_entries(const std::vector<StateEntry>& own, const StateDict& from, bool strict) {
  match_entries(own, from, strict, [](const StateEntry& e, const Tensor& t) { *e.tensor = t.to(default_device()); });
}

void copy_entries(const std::vector<StateEntry>& from, const std::vector<StateEntry>& to) {
  if (from.size() != to.size())
    throw ShapeError("copy_parameters: " + std::to_string(from.size()) + " tensors given, the model has " + std::to_string(to.size()));
  for (std::size_t i = 0; i < from.size(); ++i)
    if (from[i].name != to[i].name || from[i].tensor->shape() != to[i].tensor->shape())
      throw ShapeError("copy_parameters: " + from[i].name + " " + to_string(from[i].tensor->shape()) + " does not fit " + to[i].name + " " +
                       to_string(to[i].tensor->shape()));
  for (std::size_t i = 0; i < from.size(); ++i) to[i].tensor->copy_from(*from[i].tensor);
}

}  // namespace detail
}  // namespace fm
