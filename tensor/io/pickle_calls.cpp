// The names that a checkpoint may mention, and what a call of one makes.
#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

struct Known {
  std::string_view module, name;
  PickleName what;
};

constexpr Known known[] = {
    {"collections", "OrderedDict", PickleName::dict},
    {"collections", "Counter", PickleName::counter},
    {"builtins", "set", PickleName::set},
    {"__builtin__", "set", PickleName::set},
    {"torch._utils", "_rebuild_tensor_v2", PickleName::rebuild_tensor},
    {"torch._utils", "_rebuild_parameter", PickleName::rebuild_parameter},
    {"torch", "Size", PickleName::size},
    {"torch", "device", PickleName::device},
};

constexpr std::string_view type_names[] = {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16",     "int8",      "uint8",
                                           "bool",    "float",   "double",  "half",     "long",  "int",   "complex64", "complex128"};

constexpr TorchType types[] = {{"FloatStorage", 4, DType::f32},     {"DoubleStorage", 8, DType::f64}, {"HalfStorage", 2, DType::f32},
                               {"BFloat16Storage", 2, DType::bf16}, {"LongStorage", 8, DType::i64},   {"IntStorage", 4, DType::i32},
                               {"ByteStorage", 1, DType::u8},       {"BoolStorage", 1, DType::u8}};
constexpr std::string_view unsupported_types[] = {"CharStorage",  "ShortStorage",  "ComplexFloatStorage", "ComplexDoubleStorage",
                                                  "QInt8Storage", "QUInt8Storage", "QInt32Storage"};

template <class List>
bool among(std::string_view name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

}  // namespace

// "c" module "\n" name "\n". A name is a node whose integer says what it is (and its extra which storage type), a dtype its own text.
void PickleMachine::push_name() {
  const std::size_t begin = at_, line = in_.find('\n', begin);
  const std::size_t end = line == in_.npos ? in_.npos : in_.find('\n', line + 1);
  if (end == in_.npos || end - begin > 256) fail("a name without an end");
  const std::string_view module = in_.substr(begin, line - begin), name = in_.substr(line + 1, end - line - 1);
  at_ = end + 1;
  for (const Known& k : known)
    if (k.module == module && k.name == name) return push(node(PickleKind::name, std::int64_t(k.what)));
  if (module == "torch") {
    for (const TorchType& t : types)
      if (name == t.storage) return push(node(PickleKind::name, std::int64_t(PickleName::storage_type), std::uint32_t(&t - types)));
    if (among(name, type_names)) return push(node(PickleKind::text, std::int64_t(line + 1), std::uint32_t(name.size())));
    if (among(name, unsupported_types)) {
      refuse(fmt::format("elements of torch.{} cannot be read (Float, Double, Half, BFloat16, Long, Int, Byte, Bool can)", name));
    }
  }
  const std::string full = std::string(module) + "." + std::string(name);
  refuse(fmt::format("it calls {}, and nothing from a file is run here", in_quotes(full)));
}

void PickleMachine::call(bool construct) {
  const std::vector<Id> arguments = tree_.items(expect(pop(), PickleKind::tuple, "the arguments of a call"));
  const auto name = PickleName(tree_.integer(expect(pop(), PickleKind::name, "what is called")));
  const bool type = name == PickleName::dict || name == PickleName::counter || name == PickleName::set || name == PickleName::size;
  if (construct && !type) fail("what is constructed is not a type");
  push(call(name, arguments));
}

PickleMachine::Id PickleMachine::call(PickleName name, const std::vector<Id>& arguments) {
  const auto want = [&](std::size_t least, std::size_t most, const char* what) {
    if (arguments.size() < least || arguments.size() > most) fail(fmt::format("{} with {} arguments", what, arguments.size()));
  };
  switch (name) {
    case PickleName::dict:
      return want(0, 0, "OrderedDict"), container(PickleKind::dict);
    case PickleName::counter:
      want(0, 1, "Counter");
      return arguments.empty() ? container(PickleKind::dict) : expect(arguments[0], PickleKind::dict, "Counter's argument");
    case PickleName::set:
      want(0, 1, "set");
      return container(PickleKind::set,
                       arguments.empty() ? std::vector<Id>{} : tree_.items(expect(arguments[0], PickleKind::list, "set's argument")));
    case PickleName::size:
      return want(1, 1, "torch.Size"), expect(arguments[0], PickleKind::tuple, "torch.Size's argument");
    case PickleName::device:
      return want(1, 2, "torch.device"), expect(arguments[0], PickleKind::text, "torch.device's argument");
    case PickleName::rebuild_tensor:
      return want(6, 7, "_rebuild_tensor_v2"), tensor(arguments);
    case PickleName::rebuild_parameter:
      return want(3, 3, "_rebuild_parameter"), expect(arguments[0], PickleKind::tensor, "a parameter's data");
    default:
      fail("a storage type is called");
  }
}

// ('storage', type, key, location, number of elements), repeated for every tensor that lives in it. The location (cpu, cuda:0) does not
// matter here.
PickleMachine::Id PickleMachine::storage(const std::vector<Id>& id) {
  if (id.size() != 5 || tree_.kind(id[0]) != PickleKind::text || tree_.text(id[0]) != "storage") fail("a persistent id that is no storage");
  const Id type = expect(id[1], PickleKind::name, "a storage's type");
  if (tree_.integer(type) != std::int64_t(PickleName::storage_type)) fail("a storage's type is another name");
  const PickledStorage s{tree_.text(expect(id[2], PickleKind::text, "a storage's key")), &types[tree_.nodes_[type].extra],
                         whole(id[4], "a storage's number of elements")};
  if (s.key.empty() || s.key.size() > 64 || s.key.find('/') != s.key.npos) fail(fmt::format("a storage's key is {}", in_quotes(s.key)));
  const auto [place, added] = storage_index_.emplace(s.key, std::uint32_t(tree_.storages.size()));
  if (added) {
    if (tree_.storages.size() >= PickleLimits::tensors) refuse(fmt::format("more than {} storages", PickleLimits::tensors));
    if (s.numel > PickleLimits::storage - stored_elements_) fail(fmt::format("storage {} of {} elements", in_quotes(s.key), s.numel));
    stored_elements_ += s.numel;
    tree_.storages.push_back(s);
  } else if (const PickledStorage& before = tree_.storages[place->second]; before.type != s.type || before.numel != s.numel) {
    fail(fmt::format("storage {} is {} torch.{} here and {} torch.{} elsewhere", in_quotes(s.key), s.numel, s.type->storage, before.numel,
                     before.type->storage));
  }
  return node(PickleKind::storage, place->second);
}

Shape PickleMachine::dimensions(Id id, const char* what) const {
  Shape out;
  const auto& items = tree_.items(expect(id, PickleKind::tuple, what));
  if (items.size() > std::size_t(max_rank))
    refuse(fmt::format("{} has {} dimensions, at most {} are supported", what, items.size(), max_rank));
  for (const Id item : items) out.push_back(whole(item, what));
  return out;
}

// offset + sum (d - 1) stride is the last element's place; counts must not overflow, nor be far beyond the storage.
void PickleMachine::check_place(const PickledTensor& t) {
  const std::int64_t there = tree_.storages[t.storage].numel;
  std::int64_t count = 1, last = t.offset;
  bool empty = false, over = false;
  for (int i = 0; i < t.shape.rank(); ++i) {
    const std::int64_t d = t.shape[i];
    if (d == 0) {
      empty = true;
      continue;
    }
    std::int64_t reach = 0;
    over = over || __builtin_mul_overflow(count, d, &count) || __builtin_mul_overflow(d - 1, t.strides[i], &reach) ||
           __builtin_add_overflow(last, reach, &last);
  }
  const auto tensor = [&] {
    return fmt::format("a tensor of shape {} and strides {} from element {}", to_string(t.shape), to_string(t.strides), t.offset);
  };
  if (over) fail(tensor() + " is impossibly large");
  if (empty) count = 0;
  if (empty ? t.offset > there : last >= there) fail(fmt::format("{} leaves its storage of {}", tensor(), there));
  if (count > std::max(there, PickleLimits::expanded))
    refuse(fmt::format("{} repeats the {} values of its storage too often", tensor(), there));
  if (__builtin_add_overflow(tensor_elements_, count, &tensor_elements_)) fail("more elements of tensors than there are numbers");
}

// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])
PickleMachine::Id PickleMachine::tensor(const std::vector<Id>& a) {
  if (tree_.tensors.size() >= PickleLimits::tensors) refuse(fmt::format("more than {} tensors", PickleLimits::tensors));
  PickledTensor t;
  t.storage = std::uint32_t(tree_.integer(expect(a[0], PickleKind::storage, "a tensor's storage")));
  t.offset = whole(a[1], "a tensor's offset");
  t.shape = dimensions(a[2], "a tensor's shape");
  t.strides = dimensions(a[3], "a tensor's strides");
  if (t.shape.rank() != t.strides.rank()) fail(fmt::format("a tensor's shape {} and strides {}", to_string(t.shape), to_string(t.strides)));
  check_place(t);
  tree_.tensors.push_back(t);
  return node(PickleKind::tensor, std::int64_t(tree_.tensors.size() - 1));
}

}  // namespace fm
