// Storages and the tensors that are views of them. A PyTorch tensor that the engine cannot hold (complex numbers, nine
// dimensions) becomes a tensor without values, with the reason. A view beyond its storage means that the file is damaged.
#include <fmt/format.h>

#include <algorithm>

#include "tensor/io/file_text.h"
#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

struct Spelled {
  std::string_view name;
  FileType type;
};

constexpr Spelled storage_types[] = {{"FloatStorage", FileType::f32},
                                     {"DoubleStorage", FileType::f64},
                                     {"HalfStorage", FileType::f16},
                                     {"BFloat16Storage", FileType::bf16},
                                     {"LongStorage", FileType::i64},
                                     {"IntStorage", FileType::i32},
                                     {"ShortStorage", FileType::i16},
                                     {"CharStorage", FileType::i8},
                                     {"ByteStorage", FileType::u8},
                                     {"BoolStorage", FileType::boolean},
                                     {"ComplexFloatStorage", FileType::complex64},
                                     {"ComplexDoubleStorage", FileType::complex128},
                                     {"QInt8Storage", FileType::quantized8},
                                     {"QUInt8Storage", FileType::quantized8},
                                     {"QInt32Storage", FileType::quantized32},
                                     {"UntypedStorage", FileType::u8},
                                     {"_UntypedStorage", FileType::u8}};

constexpr Spelled tensor_types[] = {{"float32", FileType::f32},
                                    {"float", FileType::f32},
                                    {"float64", FileType::f64},
                                    {"double", FileType::f64},
                                    {"float16", FileType::f16},
                                    {"half", FileType::f16},
                                    {"bfloat16", FileType::bf16},
                                    {"float8_e4m3fn", FileType::f8_e4m3},
                                    {"float8_e5m2", FileType::f8_e5m2},
                                    {"float8_e4m3fnuz", FileType::f8_e4m3fnuz},
                                    {"float8_e5m2fnuz", FileType::f8_e5m2fnuz},
                                    {"float8_e8m0fnu", FileType::f8_e8m0},
                                    {"int64", FileType::i64},
                                    {"long", FileType::i64},
                                    {"int32", FileType::i32},
                                    {"int", FileType::i32},
                                    {"int16", FileType::i16},
                                    {"short", FileType::i16},
                                    {"int8", FileType::i8},
                                    {"uint8", FileType::u8},
                                    {"uint16", FileType::u16},
                                    {"uint32", FileType::u32},
                                    {"uint64", FileType::u64},
                                    {"bool", FileType::boolean},
                                    {"complex32", FileType::complex32},
                                    {"chalf", FileType::complex32},
                                    {"complex64", FileType::complex64},
                                    {"cfloat", FileType::complex64},
                                    {"complex128", FileType::complex128},
                                    {"cdouble", FileType::complex128}};

template <class List>
std::optional<FileType> among(const List& list, std::string_view name) {
  for (const Spelled& s : list)
    if (s.name == name) return s.type;
  return std::nullopt;
}

}  // namespace

// ---- storages ---------------------------------------------------------------------------------------------------------------------

PickleMachine::Id PickleMachine::add_storage(const PickledStorage& s) {
  const std::string key = in_quotes(s.key);
  if (s.key.empty() || s.key.size() > 64 || s.key.find('/') != s.key.npos) fail(fmt::format("a storage's key is {}: a key has 1 to 64 characters and no slash", key));
  auto& index = s.root ? part_index_ : storage_index_;
  const auto [place, added] = index.emplace(s.key, std::uint32_t(tree_.storages.size()));
  if (added) {
    if (tree_.storages.size() >= PickleLimits::tensors) refuse(fmt::format("it has more than {} storages, the limit of this reader", PickleLimits::tensors));
    if (s.numel > PickleLimits::storage - stored_elements_) fail(fmt::format("storage {} cannot have {} elements: all storages together have at most 2^48", key, s.numel));
    if (!s.root) stored_elements_ += s.numel;
    tree_.storages.push_back(s);
  } else if (const PickledStorage& before = tree_.storages[place->second];
             before.type_name != s.type_name || before.numel != s.numel || before.root != s.root || before.begin != s.begin) {
    fail(fmt::format("storage {} is {} torch.{} here and {} torch.{} elsewhere", key, s.numel, one_line(s.type_name), before.numel,
                     one_line(before.type_name)));
  }
  return node(PickleKind::storage, place->second);
}

// ('storage', type, key, location, number of elements[, part]), repeated for every tensor that lives in it. The location (cpu, cuda:0) does
// not matter here. In files from before PyTorch 1.6 `part` is None, or selects a part of the storage.
PickleMachine::Id PickleMachine::storage(const Ids& id) {
  if (id.size() != 5 && id.size() != 6) fail(fmt::format("a storage's persistent id has {} values instead of 5 or 6", id.size()));
  if (is(id[1], PickleKind::opaque)) return unread_tensor("its storage's type is not known");
  const std::string& full = tree_.name(expect(id[1], PickleKind::name, "a storage's type"));
  const std::string_view name = std::string_view(full).substr(full.rfind('.') + 1);
  PickledStorage s{tree_.text(expect(id[2], PickleKind::text, "a storage's key")), std::nullopt, name,
                   whole(id[4], "a storage's number of elements")};
  if (meaning(id[1]) == PickleName::storage_type) s.type = among(storage_types, name);
  const Id all = add_storage(s);
  if (id.size() == 5 || is(id[5], PickleKind::none)) return all;
  return storage_part(all, tree_.items(expect(id[5], PickleKind::tuple, "a part of a storage")));
}

// (key, first element, number of elements)
PickleMachine::Id PickleMachine::storage_part(Id whole_storage, const Ids& view) {
  if (view.size() != 3) fail(fmt::format("a part of a storage is described by {} values instead of 3", view.size()));
  const auto root = std::uint32_t(tree_.integer(whole_storage));
  PickledStorage part = tree_.storages[root];
  part.key = tree_.text(expect(view[0], PickleKind::text, "the key of a storage's part"));
  part.root = root, part.begin = whole(view[1], "a part's first element");
  const std::int64_t numel = whole(view[2], "a part's number of elements");
  if (part.begin > part.numel || numel > part.numel - part.begin)
    fail(fmt::format("a part has elements {} to {} + {} of a storage of only {}", part.begin, part.begin, numel, part.numel));
  part.numel = numel;
  return add_storage(part);
}

// ---- tensors ----------------------------------------------------------------------------------------------------------------------

PickleMachine::Id PickleMachine::unread_tensor(std::string why) {
  if (tree_.tensors.size() >= PickleLimits::tensors) refuse(fmt::format("it has more than {} tensors, the limit of this reader", PickleLimits::tensors));
  tree_.tensors.push_back({.why = std::move(why)});
  return node(PickleKind::tensor, std::int64_t(tree_.tensors.size() - 1));
}

// Reads a shape or strides. No value if there are too many dimensions for this engine; `why` then gives the reason.
std::optional<Shape> PickleMachine::dimensions(Id id, const char* what, std::string& why) const {
  const auto& items = tree_.items(expect(id, PickleKind::tuple, what));
  if (items.size() > std::size_t(max_rank)) {
    why = fmt::format("it has {} dimensions, at most {} are supported: reshape it before saving", items.size(), max_rank);
    return std::nullopt;
  }
  Shape out;
  for (const Id item : items) out.push_back(whole(item, what));
  return out;
}

std::optional<FileType> PickleMachine::tensor_type(std::string_view name) { return among(tensor_types, name); }

// Returns the name of an element type: "float32" for a known type, the full name ("torch.float4_e2m1fn_x2") for another.
std::string_view PickleMachine::type_text(Id id) const {
  if (is(id, PickleKind::name) || is(id, PickleKind::opaque)) return tree_.name(id);
  return tree_.text(expect(id, PickleKind::text, "a tensor's type"));
}

// Returns why a tensor cannot be read: the engine lacks the type of the storage or of the tensor, or the values would have to be
// conjugated or negated. Empty if it can be read.
std::string PickleMachine::why_unread(const Ids& a, const PickledStorage& s, const std::optional<FileType>& type,
                                      std::size_t metadata) const {
  if (!s.type) return cannot_read(s.type_name);
  if (!type) return cannot_read(type_text(a[6]));
  if (!read_as(*type)) return cannot_read(*type);
  if (a.size() <= metadata || is(a[metadata], PickleKind::none)) return {};
  const Ids& bits = tree_.items(expect(a[metadata], PickleKind::dict, "a tensor's metadata"));
  for (std::size_t i = 1; i < bits.size(); i += 2)
    if (!is(bits[i], PickleKind::boolean) || tree_.integer(bits[i]) != 0)
      return "a view with its values conjugated or negated: save its .resolve_conj().resolve_neg()";
  return {};
}

// Makes the tensor of _rebuild_tensor(storage, offset, size, stride), _v2(..., requires_grad, hooks[, metadata]) or _v3(..., requires_grad, hooks,
// type[, metadata]). _v3 has a type of its own (typed_apart) over a storage of bytes; the others have the type of their storage.
PickleMachine::Id PickleMachine::tensor(const Ids& a, bool typed_apart) {
  for (std::size_t i = 0; i < 4; ++i)
    if (is(a[i], PickleKind::opaque))
      return unread_tensor(fmt::format("it is made of a {} object, which is not built", one_line(tree_.name(a[i]))));
  if (is(a[0], PickleKind::tensor) && !tree_.tensors[std::size_t(tree_.integer(a[0]))].why.empty()) return a[0];  // unread, with its reason
  PickledTensor t;
  t.storage = std::uint32_t(tree_.integer(expect(a[0], PickleKind::storage, "a tensor's storage")));
  const PickledStorage& s = tree_.storages[t.storage];
  std::optional<FileType> type = s.type;
  if (typed_apart) type = tensor_type(type_text(a[6]));
  t.offset = whole(a[1], "a tensor's offset");
  std::string why = why_unread(a, s, type, typed_apart ? 7 : 6);
  const auto shape = dimensions(a[2], "a tensor's shape", why), strides = dimensions(a[3], "a tensor's strides", why);
  if (!why.empty()) return unread_tensor(std::move(why));
  t.type = *type, t.shape = *shape, t.strides = *strides;
  if (t.shape.rank() != t.strides.rank())
    fail(fmt::format("a tensor's shape {} and strides {} have different lengths", to_string(t.shape), to_string(t.strides)));
  check_place(t);
  if (!t.why.empty()) return unread_tensor(std::move(t.why));
  if (tree_.tensors.size() >= PickleLimits::tensors) refuse(fmt::format("it has more than {} tensors, the limit of this reader", PickleLimits::tensors));
  tree_.tensors.push_back(std::move(t));
  return node(PickleKind::tensor, std::int64_t(tree_.tensors.size() - 1));
}

// Fails if the last element, offset + sum (d - 1) stride, lies outside of the storage, or if a count overflows. Sets t.why if the tensor has far
// more elements than its storage.
void PickleMachine::check_place(PickledTensor& t) {
  const PickledStorage& s = tree_.storages[t.storage];
  const std::int64_t there = s.numel * std::int64_t(size_of(*s.type)) / std::int64_t(size_of(t.type));
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
  if (empty ? t.offset > there : last >= there) fail(fmt::format("{} does not lie inside its storage of {} elements", tensor(), there));
  if (count > std::max(there, PickleLimits::expanded)) {
    t.why = fmt::format("{} repeats the {} values of its storage too often: save its .contiguous()", tensor(), there);
    return;
  }
  if (__builtin_add_overflow(tensor_elements_, count, &tensor_elements_)) fail("the number of elements of all tensors exceeds 2^63 - 1");
}

// _rebuild_device_tensor_from_cpu_tensor(data, type, device, requires_grad): returns the CPU tensor `data` if its
// element type is `type`, else a tensor without values, with the reason.
PickleMachine::Id PickleMachine::moved(const Ids& a) {
  if (is(a[0], PickleKind::opaque)) return opaque(a[0]);
  const PickledTensor& t = tree_.tensors[std::size_t(tree_.integer(expect(a[0], PickleKind::tensor, "a device's tensor")))];
  if (!t.why.empty() || tensor_type(type_text(a[1])) == t.type) return a[0];
  return unread_tensor("a tensor of another device, with another type than its values: save its .cpu()");
}

}  // namespace fm
