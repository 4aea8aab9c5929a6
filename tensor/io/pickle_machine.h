// The stack machine behind parse_pickle. Only pickle*.cpp use it.
#pragma once

#include <unordered_map>

#include "tensor/io/pickle.h"

namespace fm {

// The names in a pickle that have a meaning here. All others are `other`. Type names (torch.float32) and
// torch.device("cpu") are read as text.
enum class PickleName : std::uint8_t {
  other,
  dict,  // OrderedDict, defaultdict
  counter,
  set,
  size,
  device,
  rebuild_tensor,  // and _v2
  rebuild_tensor_v3,
  rebuild_parameter,  // and other functions whose first argument is a tensor that they wrap
  rebuild_from_type,  // a subclass of Tensor
  move_tensor,        // to another device or type
  quantized,
  sparse,
  nested,
  meta,
  wrapper,  // a subclass without values of its own
  through_numpy,
  storage_type
};

class PickleMachine {
 public:
  using Id = PickleTree::Id;

  PickleMachine(std::string_view bytes, const std::string& file, const std::string& place) : in_(bytes), file_(file), place_(place) {
    tree_.bytes_ = bytes;
  }
  PickleTree run();

 private:
  using Ids = std::vector<Id>;
  [[noreturn]] void fail(const std::string& what) const;    // for damaged or invalid bytes
  [[noreturn]] void refuse(const std::string& what) const;  // for valid bytes that this reader does not support

  // Bytes and stack.
  std::string_view take(std::uint64_t count);
  template <class T>
  T number() {
    return static_cast<T>(little(take(sizeof(T))));
  }
  static std::uint64_t little(std::string_view bytes);
  void push(Id id);
  Id pop();
  Id top() const;
  Ids pop_to_mark();
  void pop_or_unmark();

  // Nodes.
  Id node(PickleKind kind, std::int64_t value, std::uint32_t extra = 0);
  Id node(double value);
  Id container(PickleKind kind, Ids items = {});
  Ids& growing(Id id, PickleKind wanted, std::size_t more);
  Id expect(Id id, PickleKind wanted, const char* what) const;
  std::int64_t whole(Id id, const char* what) const;
  bool is(Id id, PickleKind kind) const { return tree_.kind(id) == kind; }

  // Opcodes (pickle_opcodes.cpp).
  bool step();  // false after STOP
  bool push_constant(unsigned char code);
  bool push_string(unsigned char code);
  bool build_container(unsigned char code);
  bool use_memo(unsigned char code);
  bool use_name(unsigned char code);
  void string(PickleKind kind, std::uint64_t length);
  void long_integer(std::uint64_t length);
  void mark();
  void protocol();
  void remember(std::size_t index);
  void recall(std::size_t index);
  void add_items(PickleKind kind, const Ids& items);
  void set_attributes();

  // Names and calls (pickle_names.cpp).
  void push_name_lines();
  void push_name(std::string_view module, std::string_view name);
  Id name_node(std::string full, PickleName what);
  Id opaque(Id name);
  PickleName meaning(Id name) const { return PickleName(tree_.names_[std::size_t(tree_.integer(name))].what); }
  void call(bool construct);
  void construct_with_keywords();
  Id call(Id name, const Ids& arguments);
  Id make_dict(Id name, const Ids& arguments);
  Id make_set(Id name, const Ids& arguments);
  void persistent_id();

  // Tensors and their storages (pickle_tensors.cpp).
  Id storage(const Ids& id);
  Id storage_part(Id whole_storage, const Ids& view);
  Id add_storage(const PickledStorage& s);
  Id tensor(const Ids& arguments, bool typed_apart);
  Id from_type(Id name, const Ids& arguments);
  Id moved(const Ids& arguments);
  Id unread_tensor(std::string why);
  static std::optional<FileType> tensor_type(std::string_view name);  // for a name such as "float32"
  std::string_view type_text(Id id) const;
  std::optional<Shape> dimensions(Id id, const char* what, std::string& why) const;
  std::string why_unread(const Ids& arguments, const PickledStorage& s, const std::optional<FileType>& type, std::size_t metadata) const;
  void check_place(PickledTensor& t);

  // After the last opcode: no cycles, bounded depth, keys that occur once.
  std::uint8_t check(Id id, std::size_t depth, std::vector<std::uint8_t>& heights) const;
  void check_keys(Id dict) const;
  void check_total() const;

  std::string_view in_;
  const std::string& file_;
  const std::string& place_;
  std::size_t at_ = 0, item_count_ = 0, remembered_ = 0;
  std::int64_t tensor_elements_ = 0, stored_elements_ = 0;
  std::unordered_map<std::string, Id> name_index_;                     // by full name
  std::unordered_map<std::string_view, std::uint32_t> storage_index_;  // by key
  std::unordered_map<std::string_view, std::uint32_t> part_index_;     // parts of storages, by key
  PickleTree tree_;
  Ids stack_, memo_;
  std::vector<std::size_t> marks_;  // heights of the stack
};

}  // namespace fm
