// Finds the state dict inside a PyTorch checkpoint.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/torch_file.h"

namespace fm {
namespace {

constexpr const char* wrappers[] = {"ema", "state_dict", "model", "module"};
constexpr int most_wrappers = 16;

std::string key_text(const TorchValue& key) {
  if (key.is(PickleKind::text)) return key.text();
  if (key.is(PickleKind::integer) || key.is(PickleKind::boolean)) return fmt::format("{}", key.integer());
  return with_article(key.describe());
}

// Returns text about the first few entries: "ema (dict of 382), step (int)".
std::string entries_of(const TorchValue& at) {
  constexpr std::size_t most = 12;
  std::string out;
  const std::size_t size = at.size();
  for (std::size_t i = 0; i < std::min(size, most); ++i) {
    const TorchValue value = at.item(i);
    std::string name = fmt::format("{}", i);
    if (at.is(PickleKind::dict)) name = at.key(i).is(PickleKind::text) ? in_quotes(at.key(i).text()) : key_text(at.key(i));
    out += fmt::format("{}{} ({})", i ? ", " : "", name, value.describe());
  }
  if (size > most) out += fmt::format(" and {} more", size - most);
  return out.empty() ? "nothing" : out;
}

bool is_list(const TorchValue& at) { return at.is(PickleKind::list) || at.is(PickleKind::tuple); }

// Returns the entry of a dict with this key, a text or (if `name` is a number) an integer, or the entry of a list at this position.
std::optional<TorchValue> entry(const TorchValue& at, std::string_view name) {
  if (at.is(PickleKind::dict))
    if (const auto found = at.find(name)) return found;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  if (is_list(at)) return number >= 0 && std::size_t(number) < at.size() ? std::optional(at.item(std::size_t(number))) : std::nullopt;
  for (std::size_t i = 0; i < at.size(); ++i)
    if (at.key(i).is(PickleKind::integer) && at.key(i).integer() == number) return at.item(i);
  return std::nullopt;
}

TorchValue follow(TorchValue at, std::string_view key, const std::string& file) {
  while (!key.empty()) {
    const std::size_t slash = std::min(key.find('/'), key.size());
    const std::string_view name = key.substr(0, slash);
    if (!at.is(PickleKind::dict) && !is_list(at))
      throw FileError(fmt::format("{}: no entry {} in {}", file, in_quotes(name), with_article(at.describe())));
    const auto next = entry(at, name);
    if (!next) throw FileError(fmt::format("{}: no entry {}; there are {}", file, in_quotes(name), entries_of(at)));
    at = *next;
    key.remove_prefix(std::min(slash + 1, key.size()));
  }
  return at;
}

std::optional<TorchValue> inside_wrapper(const TorchValue& at) {
  if (!at.is(PickleKind::dict)) return std::nullopt;
  for (const char* name : wrappers)
    if (const auto inside = at.find(name); inside && inside->is(PickleKind::dict)) return inside;
  return std::nullopt;
}

void add(FileTensors& out, const std::string& name, const TorchValue& value) {
  if (value.is(PickleKind::opaque)) {
    out.unread.push_back({name, fmt::format("an {}, which is not built, since nothing from a file is run here", value.describe())});
  } else if (value.is(PickleKind::tensor)) {
    try {
      out.tensors.emplace_back(name, value.tensor());
    } catch (const UnreadError& e) {
      out.unread.push_back({name, e.why()});
    }
  }
}

// Returns the name of entry i: its key in a dict, its position in a list. No value for a key other than text and integers, which cannot be
// requested.
std::optional<std::string> entry_name(const TorchValue& at, std::size_t i) {
  if (!at.is(PickleKind::dict)) return fmt::format("{}", i);
  const TorchValue key = at.key(i);
  return key.is(PickleKind::text) || key.is(PickleKind::integer) ? std::optional(key_text(key)) : std::nullopt;
}

// Returns the name of a single tensor: the last part of a key such as "state/0/exp_avg". Without a key, the name of the file without its ending.
std::string name_of_one(const std::string& key, const std::string& file) {
  return key.empty() ? std::filesystem::path(file).stem().string() : key.substr(key.rfind('/') + 1);
}

}  // namespace

FileTensors torch_state_dict(const TorchValue& root, const std::string& key, const std::string& file) {
  TorchValue at = follow(root, key, file);
  for (int i = 0; i < most_wrappers; ++i)
    if (const auto inside = inside_wrapper(at)) at = *inside;
  FileTensors out;
  if (at.is(PickleKind::tensor)) return add(out, name_of_one(key, file), at), out;
  if (at.is(PickleKind::opaque))
    throw FileError(
        fmt::format("{}: it holds an {}, which is not built, since nothing from a file is run here: save tensors alone, as "
                    "torch.save(model.state_dict(), file) does",
                    file, at.describe()));
  if (!at.is(PickleKind::dict) && !is_list(at))
    throw FileError(fmt::format("{}: it holds {} instead of a dict of tensors", file, with_article(at.describe())));
  for (std::size_t i = 0; i < at.size(); ++i)
    if (const auto name = entry_name(at, i)) add(out, *name, at.item(i));
  if (out.tensors.empty())
    throw FileError(fmt::format("{}: no dict of tensors in it; choose one of its entries as {}:ENTRY: {}{}", file, file, entries_of(at),
                                unread_text(out.unread)));
  return out;
}

}  // namespace fm
