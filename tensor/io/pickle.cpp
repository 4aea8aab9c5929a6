#include "tensor/io/pickle.h"

#include <fmt/format.h>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {

const char* name_of(PickleKind kind) {
  constexpr const char* names[] = {
      "None", "bool", "int", "float", "str", "bytes", "tuple", "list", "dict", "set", "tensor", "storage", "class or function", "object"};
  return names[static_cast<std::size_t>(kind)];
}

void PickleMachine::fail(const std::string& what) const {
  throw FileError(fmt::format("{}: damaged PyTorch checkpoint: {}, byte {}: {}; copy or download it again", file_, place_, at_, what));
}

void PickleMachine::refuse(const std::string& what) const {
  throw FileError(
      fmt::format("{}: {}, byte {}: {}; save tensors alone, as torch.save(model.state_dict(), file) does", file_, place_, at_, what));
}

// ---- bytes and stack --------------------------------------------------------------------------------------------------------------

std::string_view PickleMachine::take(std::uint64_t count) {
  if (count > in_.size() - at_) fail(fmt::format("{} bytes are needed, {} are left", count, in_.size() - at_));
  if (at_ + count > PickleLimits::bytes) refuse(fmt::format("the pickle is longer than {} bytes, the limit of this reader", PickleLimits::bytes));
  const std::string_view bytes = in_.substr(at_, count);
  at_ += count;
  return bytes;
}

std::uint64_t PickleMachine::little(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::uint64_t(static_cast<unsigned char>(bytes[i])) << 8 * i;
  return value;
}

void PickleMachine::push(Id id) {
  if (stack_.size() >= PickleLimits::nodes) refuse(fmt::format("its stack has more than {} values, the limit of this reader", PickleLimits::nodes));
  stack_.push_back(id);
}

PickleMachine::Id PickleMachine::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("a missing value is used");
  return stack_.back();
}

PickleMachine::Id PickleMachine::pop() {
  const Id id = top();
  stack_.pop_back();
  return id;
}

PickleMachine::Ids PickleMachine::pop_to_mark() {
  if (marks_.empty()) fail("a missing mark is used");
  const auto from = stack_.begin() + std::ptrdiff_t(marks_.back());
  Ids items(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return items;
}

// POP removes a mark if no value lies above it.
void PickleMachine::pop_or_unmark() {
  if (!marks_.empty() && stack_.size() == marks_.back())
    marks_.pop_back();
  else
    pop();
}

// ---- nodes ------------------------------------------------------------------------------------------------------------------------

PickleMachine::Id PickleMachine::node(PickleKind kind, std::int64_t value, std::uint32_t extra) {
  if (tree_.nodes_.size() >= PickleLimits::nodes) refuse(fmt::format("it has more than {} values, the limit of this reader", PickleLimits::nodes));
  tree_.nodes_.push_back({.kind = kind, .extra = extra, .integer = value});
  return Id(tree_.nodes_.size() - 1);
}

PickleMachine::Id PickleMachine::node(double value) {
  const Id id = node(PickleKind::real, 0);
  tree_.nodes_[id].real = value;
  return id;
}

PickleMachine::Id PickleMachine::container(PickleKind kind, Ids items) {
  if (tree_.containers_.size() >= PickleLimits::containers) refuse(fmt::format("it has more than {} lists and tuples, the limit of this reader", PickleLimits::containers));
  tree_.containers_.emplace_back();
  const Id id = node(kind, 0, std::uint32_t(tree_.containers_.size() - 1));
  growing(id, kind, items.size()) = std::move(items);
  return id;
}

PickleMachine::Ids& PickleMachine::growing(Id id, PickleKind wanted, std::size_t more) {
  expect(id, wanted, "the value that gets entries");
  if ((item_count_ += more) > PickleLimits::items) refuse(fmt::format("its lists and dicts have more than {} entries, the limit of this reader", PickleLimits::items));
  return tree_.containers_[tree_.nodes_[id].extra];
}

PickleMachine::Id PickleMachine::expect(Id id, PickleKind wanted, const char* what) const {
  if (!is(id, wanted))
    fail(fmt::format("{} is {} instead of {}", what, with_article(name_of(tree_.kind(id))), with_article(name_of(wanted))));
  return id;
}

std::int64_t PickleMachine::whole(Id id, const char* what) const {
  const std::int64_t n = tree_.integer(expect(id, PickleKind::integer, what));
  if (n < 0) fail(fmt::format("{} is {}, but cannot be negative", what, n));
  return n;
}

// ---- the whole --------------------------------------------------------------------------------------------------------------------

PickleTree PickleMachine::run() {
  if (in_.empty() || static_cast<unsigned char>(in_[0]) != 0x80) fail("it does not begin like a pickle of protocol 2 or later");
  while (step()) {
  }
  tree_.root = pop();
  if (!stack_.empty() || !marks_.empty()) fail("values are left on its stack");
  std::vector<std::uint8_t> heights(tree_.nodes_.size());
  check(tree_.root, 0, heights);
  check_total();
  tree_.size = at_;
  return std::move(tree_);
}

PickleTree parse_pickle(std::string_view bytes, const std::string& file, const std::string& place) {
  return PickleMachine(bytes, file, place).run();
}

}  // namespace fm
