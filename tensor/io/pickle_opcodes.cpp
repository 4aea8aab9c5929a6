// Executes the opcodes that Python's pickler writes in protocols 2 to 5, except those of the registry of extensions and of buffers outside the
// file.
#include <fmt/format.h>

#include <bit>

#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

constexpr PickleTree::Id unset = ~PickleTree::Id{0};

// The opcodes, from Python's pickletools.
enum Op : unsigned char {
  proto = 0x80,
  frame = 0x95,
  stop = '.',
  pop_op = '0',
  pop_mark = '1',
  dup = '2',
  global = 'c',
  stack_global = 0x93,
  binpersid = 'Q',
  reduce = 'R',
  build = 'b',
  newobj = 0x81,
  newobj_ex = 0x92,
  mark_op = '(',
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
  additems = 0x90,
  frozenset = 0x91,
  none = 'N',
  newtrue = 0x88,
  newfalse = 0x89,
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  long4 = 0x8b,
  binfloat = 'G',
  binunicode = 'X',
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binstring = 'T',
  short_binstring = 'U',
  binbytes = 'B',
  short_binbytes = 'C',
  binbytes8 = 0x8e,
  bytearray8 = 0x96,
  binget = 'h',
  long_binget = 'j',
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94
};

}  // namespace

void PickleMachine::protocol() {
  const int version = number<std::uint8_t>();
  if (version < 2 || version > 5) refuse(fmt::format("pickle protocol {} is not supported; 2 (torch.save's own) to 5 are", version));
}

// ---- constants --------------------------------------------------------------------------------------------------------------------

void PickleMachine::string(PickleKind kind, std::uint64_t length) {
  const std::size_t begin = at_;
  take(length);
  push(node(kind, std::int64_t(begin), std::uint32_t(length)));
}

// Reads a little-endian integer in two's complement. If it has more than 64 bits, it becomes a double: such numbers are seeds of generators, never
// sizes.
void PickleMachine::long_integer(std::uint64_t length) {
  const std::string_view bytes = take(length);
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
      return long_integer(number<std::uint8_t>()), true;
    case long4:
      return long_integer(number<std::uint32_t>()), true;
    case binfloat:
      return push(node(std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())))), true;
    default:
      return push_string(code);
  }
}

// Strings of Python 2 (binstring) are read as text, because they are names of parameters.
bool PickleMachine::push_string(unsigned char code) {
  switch (code) {
    case short_binunicode:
    case short_binstring:
      return string(PickleKind::text, number<std::uint8_t>()), true;
    case binunicode:
    case binstring:
      return string(PickleKind::text, number<std::uint32_t>()), true;
    case binunicode8:
      return string(PickleKind::text, number<std::uint64_t>()), true;
    case short_binbytes:
      return string(PickleKind::bytes, number<std::uint8_t>()), true;
    case binbytes:
      return string(PickleKind::bytes, number<std::uint32_t>()), true;
    case binbytes8:
    case bytearray8:
      return string(PickleKind::bytes, number<std::uint64_t>()), true;
    default:
      return false;
  }
}

// ---- containers -------------------------------------------------------------------------------------------------------------------

void PickleMachine::mark() {
  if (marks_.size() >= PickleLimits::marks) refuse(fmt::format("it has more than {} open marks, the limit of this reader", PickleLimits::marks));
  marks_.push_back(stack_.size());
}

// Adds entries to the container on top of the stack. Entries of an opaque value (of a subclass of list or dict) are dropped.
void PickleMachine::add_items(PickleKind kind, const Ids& items) {
  if (kind == PickleKind::dict && items.size() % 2 != 0) fail("a dict has a key without a value");
  if (is(top(), PickleKind::opaque)) return;
  Ids& all = growing(top(), kind, items.size());
  all.insert(all.end(), items.begin(), items.end());
}

bool PickleMachine::build_container(unsigned char code) {
  switch (code) {
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
    case frozenset:
      return push(container(PickleKind::set, pop_to_mark())), true;
    case tuple1:
    case tuple2:
    case tuple3: {
      Ids items(code - tuple1 + 1u);
      for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
      return push(container(PickleKind::tuple, std::move(items))), true;
    }
    case append: {
      const Id item = pop();
      return add_items(PickleKind::list, {item}), true;
    }
    case setitem: {
      const Id value = pop(), key = pop();
      return add_items(PickleKind::dict, {key, value}), true;
    }
    case appends:
    case setitems:
    case additems: {
      const Ids items = pop_to_mark();
      return add_items(code == appends ? PickleKind::list : code == setitems ? PickleKind::dict : PickleKind::set, items), true;
    }
    default:
      return false;
  }
}

// ---- memo -------------------------------------------------------------------------------------------------------------------------

void PickleMachine::remember(std::size_t index) {
  if (index >= PickleLimits::nodes) refuse(fmt::format("memo number {} is too large; at most {} values are kept", index, PickleLimits::nodes));
  if (index >= memo_.size()) memo_.resize(index + 1, unset);
  remembered_ += memo_[index] == unset;
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
    case memoize:
      return remember(remembered_), true;
    case binget:
      return recall(number<std::uint8_t>()), true;
    case long_binget:
      return recall(number<std::uint32_t>()), true;
    default:
      return false;
  }
}

// ---- names ------------------------------------------------------------------------------------------------------------------------

// Drops attributes: the _metadata of a state dict (versions of modules), marks of a parameter, and all attributes of an opaque value.
void PickleMachine::set_attributes() {
  pop();
  const PickleKind kind = tree_.kind(top());
  if (kind != PickleKind::dict && kind != PickleKind::tensor && kind != PickleKind::set && kind != PickleKind::opaque)
    fail(fmt::format("attributes are set on {}", with_article(name_of(kind))));
}

bool PickleMachine::use_name(unsigned char code) {
  switch (code) {
    case global:
      return push_name_lines(), true;
    case stack_global: {
      const Id name = expect(pop(), PickleKind::text, "a name"), module = expect(pop(), PickleKind::text, "a module's name");
      return push_name(tree_.text(module), tree_.text(name)), true;
    }
    case binpersid:
      return persistent_id(), true;
    case reduce:
      return call(false), true;
    case newobj:
      return call(true), true;
    case newobj_ex:
      return construct_with_keywords(), true;
    case build:
      return set_attributes(), true;
    default:
      return false;
  }
}

bool PickleMachine::step() {
  const auto code = number<std::uint8_t>();
  if (push_constant(code) || build_container(code) || use_memo(code) || use_name(code)) return true;
  switch (code) {
    case stop:
      return false;
    case proto:
      return protocol(), true;
    case frame:  // the number of bytes for one read; not needed for a file in memory
      return take(8), true;
    case mark_op:
      return mark(), true;
    case pop_op:
      return pop_or_unmark(), true;
    case pop_mark:
      return pop_to_mark(), true;
    case dup:
      return push(top()), true;
    default:
      --at_, refuse(fmt::format("opcode 0x{:02x} is none of those that torch.save writes", code));
  }
}

}  // namespace fm
