#include "tensor/io/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

constexpr PickleTree::Id unset = ~PickleTree::Id{0};

// Opcodes of Python's pickletools.
enum Op : unsigned char {
  proto = 0x80,
  stop = '.',
  global = 'c',
  binpersid = 'Q',
  reduce = 'R',
  build_op = 'b',
  newobj = 0x81,
  mark = '(',
  empty_tuple = ')',
  tuple_op = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  empty_list = ']',
  append = 'a',
  appends = 'e',
  empty_dict = '}',
  setitem = 's',
  setitems = 'u',
  empty_set = 0x8f,
  none = 'N',
  newtrue = 0x88,
  newfalse = 0x89,
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  binfloat = 'G',
  binunicode = 'X',
  short_binstring = 'U',
  binget = 'h',
  long_binget = 'j',
  binput = 'q',
  long_binput = 'r'
};

}  // namespace

const char* name_of(PickleKind kind) {
  constexpr const char* names[] = {"None", "bool", "int", "float", "str", "tuple", "list", "dict", "set", "tensor", "storage", "name"};
  return names[static_cast<std::size_t>(kind)];
}

void PickleMachine::fail(const std::string& what) const {
  throw FileError(fmt::format("{}: damaged PyTorch checkpoint: data.pkl, byte {}: {}; copy or download it again", file_, at_, what));
}

void PickleMachine::refuse(const std::string& what) const {
  throw FileError(
      fmt::format("{}: data.pkl, byte {}: {}; save tensors alone, as torch.save(model.state_dict(), file) does", file_, at_, what));
}

// ---- bytes, stack and nodes -------------------------------------------------------------------------------------------------------

std::string_view PickleMachine::take(std::size_t count) {
  if (count > in_.size() - at_) fail(fmt::format("{} bytes are wanted, {} are left", count, in_.size() - at_));
  const std::string_view bytes = in_.substr(at_, count);
  at_ += count;
  return bytes;
}

template <class T>
T PickleMachine::little(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t(static_cast<unsigned char>(bytes[i])) << 8 * i;
  return static_cast<T>(value);
}

void PickleMachine::push(Id id) {
  if (stack_.size() >= PickleLimits::nodes) refuse(fmt::format("more than {} values on its stack", PickleLimits::nodes));
  stack_.push_back(id);
}

PickleMachine::Id PickleMachine::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("a value is used that is not there");
  return stack_.back();
}

PickleMachine::Id PickleMachine::pop() {
  const Id id = top();
  stack_.pop_back();
  return id;
}

std::vector<PickleMachine::Id> PickleMachine::pop_to_mark() {
  if (marks_.empty()) fail("a mark is used that is not there");
  const auto from = stack_.begin() + std::ptrdiff_t(marks_.back());
  std::vector<Id> items(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return items;
}

PickleMachine::Id PickleMachine::node(PickleKind kind, std::int64_t value, std::uint32_t extra) {
  if (tree_.nodes_.size() >= PickleLimits::nodes) refuse(fmt::format("more than {} values", PickleLimits::nodes));
  tree_.nodes_.push_back({.kind = kind, .extra = extra, .integer = value});
  return Id(tree_.nodes_.size() - 1);
}

PickleMachine::Id PickleMachine::node(double value) {
  const Id id = node(PickleKind::real, 0);
  tree_.nodes_[id].real = value;
  return id;
}

PickleMachine::Id PickleMachine::container(PickleKind kind, std::vector<Id> items) {
  if (tree_.containers_.size() >= PickleLimits::containers) refuse(fmt::format("more than {} lists and tuples", PickleLimits::containers));
  tree_.containers_.emplace_back();
  const Id id = node(kind, 0, std::uint32_t(tree_.containers_.size() - 1));
  growing(id, kind, items.size()) = std::move(items);
  return id;
}

std::vector<PickleMachine::Id>& PickleMachine::growing(Id id, PickleKind wanted, std::size_t more) {
  expect(id, wanted, "what is added to");
  if ((item_count_ += more) > PickleLimits::items) refuse(fmt::format("more than {} entries of lists and dicts", PickleLimits::items));
  return tree_.containers_[tree_.nodes_[id].extra];
}

PickleMachine::Id PickleMachine::expect(Id id, PickleKind wanted, const char* what) const {
  if (tree_.kind(id) != wanted) fail(fmt::format("{} is a {} instead of a {}", what, name_of(tree_.kind(id)), name_of(wanted)));
  return id;
}

std::int64_t PickleMachine::whole(Id id, const char* what) const {
  const std::int64_t n = tree_.integer(expect(id, PickleKind::integer, what));
  if (n < 0) fail(fmt::format("{} is {}", what, n));
  return n;
}

// ---- opcodes ----------------------------------------------------------------------------------------------------------------------

void PickleMachine::text(std::size_t length) {
  if (length > PickleLimits::text) refuse(fmt::format("a string of {} bytes, at most {} are read", length, PickleLimits::text));
  const std::size_t begin = at_;
  take(length);
  push(node(PickleKind::text, std::int64_t(begin), std::uint32_t(length)));
}

// Little-endian, two's complement. Beyond 64 bits the nearest double: such numbers are seeds of generators, never sizes.
void PickleMachine::long_integer() {
  const std::string_view bytes = take(number<std::uint8_t>());
  const bool negative = !bytes.empty() && (bytes.back() & 0x80);
  if (bytes.size() <= 8) {
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return push(node(PickleKind::integer, std::int64_t(value)));
  }
  double value = negative ? -1 : 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value * 256 + static_cast<unsigned char>(bytes[i]);
  push(node(value));
}

bool PickleMachine::push_constant(unsigned char code) {
  switch (code) {
    case none:
      return push(node(PickleKind::none, 0)), true;
    case newtrue:
    case newfalse:
      return push(node(PickleKind::boolean, code == newtrue)), true;
    case binint:
      return push(node(PickleKind::integer, number<std::int32_t>())), true;
    case binint1:
      return push(node(PickleKind::integer, number<std::uint8_t>())), true;
    case binint2:
      return push(node(PickleKind::integer, number<std::uint16_t>())), true;
    case long1:
      return long_integer(), true;
    case binfloat:
      return push(node(std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())))), true;
    case binunicode:
      return text(number<std::uint32_t>()), true;
    case short_binstring:
      return text(number<std::uint8_t>()), true;
    default:
      return false;
  }
}

void PickleMachine::set_items(Id dict, const std::vector<Id>& pairs) {
  if (pairs.size() % 2 != 0) fail("a key without a value");
  auto& items = growing(dict, PickleKind::dict, pairs.size());
  items.insert(items.end(), pairs.begin(), pairs.end());
}

bool PickleMachine::build_container(unsigned char code) {
  switch (code) {
    case mark:
      if (marks_.size() >= PickleLimits::marks) refuse(fmt::format("more than {} open marks", PickleLimits::marks));
      return marks_.push_back(stack_.size()), true;
    case empty_tuple:
      return push(container(PickleKind::tuple)), true;
    case empty_list:
      return push(container(PickleKind::list)), true;
    case empty_dict:
      return push(container(PickleKind::dict)), true;
    case empty_set:
      return push(container(PickleKind::set)), true;
    case tuple_op:
      return push(container(PickleKind::tuple, pop_to_mark())), true;
    case tuple1:
    case tuple2:
    case tuple3: {
      std::vector<Id> items(code - tuple1 + 1u);
      for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
      return push(container(PickleKind::tuple, std::move(items))), true;
    }
    case append: {
      const Id item = pop();
      return growing(top(), PickleKind::list, 1).push_back(item), true;
    }
    case appends: {
      const std::vector<Id> more = pop_to_mark();
      auto& items = growing(top(), PickleKind::list, more.size());
      return items.insert(items.end(), more.begin(), more.end()), true;
    }
    case setitem: {
      const Id value = pop(), key = pop();
      return set_items(top(), {key, value}), true;
    }
    case setitems: {
      const std::vector<Id> pairs = pop_to_mark();
      return set_items(top(), pairs), true;
    }
    default:
      return false;
  }
}

void PickleMachine::remember(std::size_t index) {
  if (index >= PickleLimits::nodes) refuse(fmt::format("memo number {}, at most {} are kept", index, PickleLimits::nodes));
  if (index >= memo_.size()) memo_.resize(index + 1, unset);
  memo_[index] = top();
}

void PickleMachine::recall(std::size_t index) {
  if (index >= memo_.size() || memo_[index] == unset) fail(fmt::format("memo number {} was never written", index));
  push(memo_[index]);
}

bool PickleMachine::use_memo(unsigned char code) {
  switch (code) {
    case binput:
      return remember(number<std::uint8_t>()), true;
    case long_binput:
      return remember(number<std::uint32_t>()), true;
    case binget:
      return recall(number<std::uint8_t>()), true;
    case long_binget:
      return recall(number<std::uint32_t>()), true;
    default:
      return false;
  }
}

// Attributes of an OrderedDict, such as a state dict's _metadata (versions of modules), are dropped.
void PickleMachine::build() {
  pop();
  if (tree_.kind(top()) != PickleKind::dict) refuse(fmt::format("attributes are set on a {}", name_of(tree_.kind(top()))));
}

bool PickleMachine::step() {
  const auto code = number<std::uint8_t>();
  if (push_constant(code) || build_container(code) || use_memo(code)) return true;
  switch (code) {
    case stop:
      return false;
    case proto:
      if (const int version = number<std::uint8_t>(); version != 2)
        refuse(fmt::format("pickle protocol {}, only 2 (torch.save's own) is read", version));
      return true;
    case global:
      return push_name(), true;
    case binpersid: {
      const Id id = expect(pop(), PickleKind::tuple, "a persistent id");
      return push(storage(tree_.items(id))), true;
    }
    case reduce:
      return call(false), true;
    case newobj:
      return call(true), true;
    case build_op:
      return build(), true;
    default:
      --at_, refuse(fmt::format("opcode 0x{:02x} is none of the 34 that PyTorch's weights use", code));
  }
}

// ---- the whole --------------------------------------------------------------------------------------------------------------------

PickleTree PickleMachine::run() {
  if (in_.size() > PickleLimits::bytes) refuse(fmt::format("it has {} bytes, at most {} are read", in_.size(), PickleLimits::bytes));
  if (in_.empty() || static_cast<unsigned char>(in_[0]) != proto) fail("it does not begin like a pickle of protocol 2");
  while (step()) {
  }
  tree_.root = pop();
  if (!stack_.empty() || !marks_.empty()) fail("values are left on its stack");
  std::vector<std::uint8_t> heights(tree_.nodes_.size());
  check(tree_.root, 0, heights);
  check_total();
  return std::move(tree_);
}

PickleTree parse_pickle(std::string_view bytes, const std::string& file) { return PickleMachine(bytes, file).run(); }

}  // namespace fm
