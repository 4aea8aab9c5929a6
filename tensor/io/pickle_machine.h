// The stack machine behind parse_pickle; of use to pickle.cpp and pickle_calls.cpp only.
#pragma once

#include <unordered_map>

#include "tensor/io/pickle.h"

namespace fm {

// Names that a pickle may mention. Type names (torch.float32) and torch.device("cpu") are read as text.
enum class PickleName : std::uint8_t { dict, counter, set, size, device, dtype, rebuild_tensor, rebuild_parameter, storage_type };

class PickleMachine {
 public:
  using Id = PickleTree::Id;

  PickleMachine(std::string_view bytes, const std::string& file) : in_(bytes), file_(file) { tree_.bytes_ = bytes; }
  PickleTree run();

 private:
  [[noreturn]] void fail(const std::string& what) const;    // the bytes make no sense
  [[noreturn]] void refuse(const std::string& what) const;  // they do, but this reader will not

  // Bytes and stack.
  std::string_view take(std::size_t count);
  template <class T>
  T number() {
    return little<T>(take(sizeof(T)));
  }
  template <class T>
  static T little(std::string_view bytes);
  void push(Id id);
  Id pop();
  Id top() const;
  std::vector<Id> pop_to_mark();

  // Nodes.
  Id node(PickleKind kind, std::int64_t value, std::uint32_t extra = 0);
  Id node(double value);
  Id container(PickleKind kind, std::vector<Id> items = {});
  std::vector<Id>& growing(Id id, PickleKind wanted, std::size_t more);
  Id expect(Id id, PickleKind wanted, const char* what) const;
  std::int64_t whole(Id id, const char* what) const;

  // Opcodes.
  bool step();  // false after STOP
  bool push_constant(unsigned char code);
  bool build_container(unsigned char code);
  bool use_memo(unsigned char code);
  void text(std::size_t length);
  void long_integer();
  void remember(std::size_t index);
  void recall(std::size_t index);
  void set_items(Id dict, const std::vector<Id>& pairs);
  void build();

  // Names and calls (pickle_calls.cpp).
  void push_name();
  void call(bool construct);
  Id call(PickleName name, const std::vector<Id>& arguments);
  Id storage(const std::vector<Id>& id);
  Id tensor(const std::vector<Id>& arguments);
  Shape dimensions(Id id, const char* what) const;
  void check_place(const PickledTensor& t);

  // After the last opcode: no cycles, bounded depth, keys that occur once.
  std::uint8_t check(Id id, std::size_t depth, std::vector<std::uint8_t>& heights) const;
  void check_keys(Id dict) const;
  void check_total() const;

  std::string_view in_;
  const std::string& file_;
  std::size_t at_ = 0, item_count_ = 0;
  std::int64_t tensor_elements_ = 0, stored_elements_ = 0;
  std::unordered_map<std::string_view, std::uint32_t> storage_index_;  // by key
  PickleTree tree_;
  std::vector<Id> stack_, memo_;
  std::vector<std::size_t> marks_;  // heights of the stack
};

}  // namespace fm
