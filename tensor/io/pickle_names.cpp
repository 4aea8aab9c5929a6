// The names in a checkpoint, and the results of calling them. Nothing is executed: a call of a name that is not in the table gives an opaque
// value.
#include <fmt/format.h>

#include "tensor/io/pickle_machine.h"

namespace fm {
namespace {

struct Known {
  std::string_view name;
  PickleName what;
};

constexpr Known known[] = {
    {"collections.OrderedDict", PickleName::dict},
    {"collections.defaultdict", PickleName::dict},
    {"collections.Counter", PickleName::counter},
    {"builtins.set", PickleName::set},
    {"__builtin__.set", PickleName::set},
    {"builtins.frozenset", PickleName::set},
    {"__builtin__.frozenset", PickleName::set},
    {"torch.Size", PickleName::size},
    {"torch.device", PickleName::device},
    {"torch._utils._rebuild_tensor", PickleName::rebuild_tensor},
    {"torch._utils._rebuild_tensor_v2", PickleName::rebuild_tensor},
    {"torch._utils._rebuild_tensor_v3", PickleName::rebuild_tensor_v3},
    {"torch._utils._rebuild_parameter", PickleName::rebuild_parameter},
    {"torch._utils._rebuild_parameter_with_state", PickleName::rebuild_parameter},
    {"torch.nn.parameter.Parameter", PickleName::rebuild_parameter},
    {"torch.autograd.variable.Variable", PickleName::rebuild_parameter},
    {"torch._tensor._rebuild_from_type", PickleName::rebuild_from_type},
    {"torch._tensor._rebuild_from_type_v2", PickleName::rebuild_from_type},
    {"torch.tensor._rebuild_from_type", PickleName::rebuild_from_type},
    {"torch._utils._rebuild_device_tensor_from_cpu_tensor", PickleName::move_tensor},
    {"torch._utils._rebuild_qtensor", PickleName::quantized},
    {"torch._utils._rebuild_sparse_tensor", PickleName::sparse},
    {"torch._utils._rebuild_sparse_csr_tensor", PickleName::sparse},
    {"torch._utils._rebuild_nested_tensor", PickleName::nested},
    {"torch._utils._rebuild_meta_tensor_no_storage", PickleName::meta},
    {"torch._utils._rebuild_wrapper_subclass", PickleName::wrapper},
    {"torch._utils._rebuild_device_tensor_from_numpy", PickleName::through_numpy},
    {"torch._utils._rebuild_xla_tensor", PickleName::through_numpy},
    {"torch.storage.UntypedStorage", PickleName::storage_type},
    {"torch.storage._UntypedStorage", PickleName::storage_type},
};

PickleName meaning_of(std::string_view full) {
  for (const Known& k : known)
    if (k.name == full) return k.what;
  const bool storage = full.starts_with("torch.") && full.ends_with("Storage") && (full.rfind('.') == 5 || full.starts_with("torch.cuda."));
  return storage ? PickleName::storage_type : PickleName::other;
}

const char* why_unread_tensor(PickleName name) {
  switch (name) {
    case PickleName::quantized:
      return "a quantized tensor: save its .dequantize()";
    case PickleName::sparse:
      return "a sparse tensor: save its .to_dense()";
    case PickleName::nested:
      return "a nested tensor: save the tensors of its .unbind()";
    case PickleName::meta:
      return "a tensor on the meta device, which has no values: load the weights before saving";
    case PickleName::wrapper:
      return "a tensor of a subclass that keeps its values elsewhere (a DTensor has .full_tensor()): save it as a plain tensor";
    default:
      return "a tensor of another device, saved through NumPy: save its .cpu()";
  }
}

}  // namespace

// ---- names ------------------------------------------------------------------------------------------------------------------------

// "c" module "\n" name "\n".
void PickleMachine::push_name_lines() {
  const std::size_t begin = at_, line = in_.find('\n', begin);
  const std::size_t end = line == in_.npos ? in_.npos : in_.find('\n', line + 1);
  if (end == in_.npos) fail("a name has no end");
  take(end + 1 - begin);
  push_name(in_.substr(begin, line - begin), in_.substr(line + 1, end - line - 1));
}

PickleMachine::Id PickleMachine::name_node(std::string full, PickleName what) {
  if (const auto before = name_index_.find(full); before != name_index_.end()) return before->second;
  if (tree_.names_.size() >= PickleLimits::names) refuse(fmt::format("it has more than {} names, the limit of this reader", PickleLimits::names));
  tree_.names_.push_back({full, std::uint8_t(what)});
  return name_index_[std::move(full)] = node(PickleKind::name, std::int64_t(tree_.names_.size() - 1));
}

// Pushes a name. An element type becomes text, without "torch.".
void PickleMachine::push_name(std::string_view module, std::string_view name) {
  if (module.size() + name.size() > 512) fail(fmt::format("a name has {} bytes, at most 512 are possible", module.size() + name.size()));
  if (module == "torch" && tensor_type(name))
    return push(node(PickleKind::text, std::int64_t(name.data() - in_.data()), std::uint32_t(name.size())));
  std::string full = fmt::format("{}.{}", module, name);
  const PickleName what = meaning_of(full);
  push(name_node(std::move(full), what));
}

PickleMachine::Id PickleMachine::opaque(Id name) { return node(PickleKind::opaque, tree_.integer(name)); }

// ---- calls ------------------------------------------------------------------------------------------------------------------------

void PickleMachine::call(bool construct) {
  const Id arguments = pop(), name = pop();
  if (is(name, PickleKind::opaque)) return push(opaque(name));
  expect(name, PickleKind::name, "the called value");
  if (is(arguments, PickleKind::opaque)) return push(opaque(name));
  const Ids& items = tree_.items(expect(arguments, PickleKind::tuple, "the arguments of a call"));
  const PickleName what = meaning(name);
  const bool type = what == PickleName::dict || what == PickleName::counter || what == PickleName::set || what == PickleName::size ||
                    what == PickleName::other || what == PickleName::rebuild_parameter;
  if (construct && !type) fail("the constructed value is not a type");
  push(call(name, items));
}

// cls.__new__(cls, *args, **kwargs). No supported class takes keywords, so the result is opaque.
void PickleMachine::construct_with_keywords() {
  pop(), pop();
  const Id name = pop();
  if (!is(name, PickleKind::opaque)) expect(name, PickleKind::name, "the constructed value");
  push(opaque(name));
}

PickleMachine::Id PickleMachine::call(Id name, const Ids& arguments) {
  const auto want = [&](std::size_t least, std::size_t most) {
    if (arguments.size() < least || arguments.size() > most) fail(fmt::format("{} is called with {} arguments, a number that this reader does not know", tree_.name(name), arguments.size()));
  };
  // If the first argument is opaque, the result is opaque.
  const auto first = [&](PickleKind kind) {
    if (is(arguments[0], PickleKind::opaque)) return opaque(arguments[0]);
    return expect(arguments[0], kind, "a call's argument");
  };
  switch (meaning(name)) {
    case PickleName::dict:
      return want(0, 2), make_dict(name, arguments);
    case PickleName::counter:
      return want(0, 1), arguments.empty() ? container(PickleKind::dict) : first(PickleKind::dict);
    case PickleName::set:
      return want(0, 1), make_set(name, arguments);
    case PickleName::size:
      return want(0, 1), arguments.empty() ? container(PickleKind::tuple) : first(PickleKind::tuple);
    case PickleName::device:
      return want(1, 2), first(PickleKind::text);
    case PickleName::rebuild_tensor:
      return want(4, 7), tensor(arguments, false);
    case PickleName::rebuild_tensor_v3:
      return want(7, 8), tensor(arguments, true);
    case PickleName::rebuild_parameter:
      return want(1, 4), first(PickleKind::tensor);
    case PickleName::rebuild_from_type:
      return want(3, 4), from_type(name, arguments);
    case PickleName::move_tensor:
      return want(2, 4), moved(arguments);
    case PickleName::storage_type:
      fail("a storage type is called like a function");
    case PickleName::other:
      return opaque(name);
    default:
      return unread_tensor(why_unread_tensor(meaning(name)));
  }
}

// Supports OrderedDict(), OrderedDict([[key, value], ...]) as Python 2 writes it, and defaultdict(factory).
PickleMachine::Id PickleMachine::make_dict(Id name, const Ids& arguments) {
  if (tree_.name(name) == "collections.defaultdict") return container(PickleKind::dict);
  if (arguments.empty()) return container(PickleKind::dict);
  if (is(arguments[0], PickleKind::opaque)) return opaque(name);
  Ids pairs;
  for (const Id pair : tree_.items(expect(arguments[0], PickleKind::list, "OrderedDict's argument"))) {
    const Ids& entry = tree_.items(is(pair, PickleKind::tuple) ? pair : expect(pair, PickleKind::list, "an entry of an OrderedDict"));
    if (entry.size() != 2) fail(fmt::format("an entry of an OrderedDict has {} values", entry.size()));
    pairs.insert(pairs.end(), entry.begin(), entry.end());
  }
  return container(PickleKind::dict, std::move(pairs));
}

PickleMachine::Id PickleMachine::make_set(Id name, const Ids& arguments) {
  if (arguments.empty()) return container(PickleKind::set);
  if (is(arguments[0], PickleKind::opaque)) return opaque(name);
  return container(PickleKind::set, tree_.items(expect(arguments[0], PickleKind::list, "set's argument")));
}

// _rebuild_from_type_v2(function, class, arguments, attributes): returns the result of the function and ignores class and attributes.
PickleMachine::Id PickleMachine::from_type(Id name, const Ids& arguments) {
  if (is(arguments[0], PickleKind::opaque) || is(arguments[2], PickleKind::opaque)) return opaque(name);
  const Id function = expect(arguments[0], PickleKind::name, "the function that rebuilds a tensor");
  if (meaning(function) == PickleName::rebuild_from_type) fail("a tensor of a subclass is rebuilt from a tensor of a subclass");
  return call(function, tree_.items(expect(arguments[2], PickleKind::tuple, "the arguments of a call")));
}

// A persistent id is ('storage', ...) for the storage of a tensor. In files from before PyTorch 1.6 it may be ('module', class, file, source) for a
// class, whose source is ignored.
void PickleMachine::persistent_id() {
  const Ids& id = tree_.items(expect(pop(), PickleKind::tuple, "a persistent id"));
  const std::string_view kind = id.empty() || !is(id[0], PickleKind::text) ? std::string_view() : tree_.text(id[0]);
  if (kind == "module" && id.size() >= 2) return push(expect(id[1], PickleKind::name, "a module's class"));
  if (kind != "storage") fail("a persistent id does not name a storage");
  push(storage(id));
}

}  // namespace fm
