// Checks the tree that parse_pickle returns: no cycles, a bounded depth, no repeated key, a bounded number of elements of tensors. Opaque values
// have no children, so an object that refers to itself is not a cycle.
#include <fmt/format.h>

#include <algorithm>

#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

constexpr std::uint8_t unfinished = 255;

}  // namespace

// Fails if a text or an integer is a key twice. Texts of more than `longest` bytes are not compared: they are not names of entries, and comparing
// them could take unbounded time.
void PickleMachine::check_keys(Id dict) const {
  constexpr std::size_t longest = 1024;
  const auto& items = tree_.items(dict);
  std::vector<Id> keys;
  for (std::size_t i = 0; i < items.size(); i += 2)
    if (is(items[i], PickleKind::integer) || (is(items[i], PickleKind::text) && tree_.text(items[i]).size() <= longest)) keys.push_back(items[i]);
  const auto compare = [&](Id a, Id b) {
    if (tree_.kind(a) != tree_.kind(b)) return tree_.kind(a) < tree_.kind(b) ? -1 : 1;
    if (is(a, PickleKind::text)) return tree_.text(a).compare(tree_.text(b));
    return tree_.integer(a) < tree_.integer(b) ? -1 : int(tree_.integer(a) > tree_.integer(b));
  };
  std::sort(keys.begin(), keys.end(), [&](Id a, Id b) { return compare(a, b) < 0; });
  const auto twice = std::adjacent_find(keys.begin(), keys.end(), [&](Id a, Id b) { return compare(a, b) == 0; });
  if (twice == keys.end()) return;
  fail(fmt::format("the key {} occurs twice in a dict",
                   is(*twice, PickleKind::text) ? in_quotes(tree_.text(*twice)) : fmt::format("{}", tree_.integer(*twice))));
}

// Returns the height of the tree below a node. Fails if a node contains itself.
std::uint8_t PickleMachine::check(Id id, std::size_t depth, std::vector<std::uint8_t>& heights) const {
  if (heights[id] == unfinished) fail("a list or dict contains itself");
  if (heights[id] != 0) return heights[id];
  const auto limit = [&](std::size_t n) {
    if (n > PickleLimits::depth) refuse(fmt::format("its lists and dicts are nested more than {} deep, the limit of this reader", PickleLimits::depth));
  };
  limit(depth);
  std::size_t height = 1;
  const PickleKind kind = tree_.kind(id);
  if (kind == PickleKind::tuple || kind == PickleKind::list || kind == PickleKind::dict || kind == PickleKind::set) {
    heights[id] = unfinished;
    for (const Id item : tree_.items(id)) height = std::max(height, std::size_t{1} + check(item, depth + 1, heights));
    if (kind == PickleKind::dict) check_keys(id);
  }
  limit(height);
  return heights[id] = std::uint8_t(height);
}

// Tied weights share a storage, but a file of a few megabytes must not describe terabytes of tensors that share one.
void PickleMachine::check_total() const {
  const std::int64_t most = PickleLimits::shared * stored_elements_ + PickleLimits::expanded;
  if (tensor_elements_ > most) refuse(fmt::format("its tensors have {} elements, too many for storages of {} elements", tensor_elements_, stored_elements_));
}

}  // namespace fm
