// Reads torch.save's data.pkl without executing it: Python's pickle, protocols 2 to 5. A pickle is a program for a stack
// machine that may call any Python function. Here only the functions of a table (pickle_names.cpp) have an effect, which is a plain value or a
// tensor, as in PyTorch's own weights-only reader (torch/_weights_only_unpickler.py). A call of any other function gives an opaque value, with
// a name and no contents. An opaque value is an error only if it is requested.
//
// The result is a graph of nodes in one arena: an object that the file mentions twice is one node. It has no cycles, a bounded depth and a
// bounded size, whatever the bytes are. Strings stay in place in the bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/element_type.h"
#include "tensor/shape.h"

namespace fm {

// name: a class or function that the pickle mentions; opaque: the result of calling an unknown class or function.
enum class PickleKind : std::uint8_t { none, boolean, integer, real, text, bytes, tuple, list, dict, set, tensor, storage, name, opaque };
const char* name_of(PickleKind kind);  // the name of the kind in Python

// The elements of tensors. A storage has its own memory, or is a part of another storage (in files from before PyTorch 1.0).
struct PickledStorage {
  std::string_view key;          // the member data/<key>
  std::optional<FileType> type;  // no value: unknown here
  std::string_view type_name;    // torch.<this>
  std::int64_t numel;
  std::optional<std::uint32_t> root = {};  // the storage of which this one is a part,
  std::int64_t begin = 0;                  // and the element where the part begins
};

// The reader has checked that every element lies inside its storage.
struct PickledTensor {
  std::uint32_t storage = 0;  // index of PickleTree::storages
  FileType type = FileType::f32;
  std::int64_t offset = 0;  // elements
  Shape shape;
  Strides strides;
  std::string why;  // if not empty, the reason why the tensor cannot be read; the other fields are then undefined
};

// Limits for one file. They are far above the needs of any checkpoint and keep the memory of the tree far below 64 MiB.
struct PickleLimits {
  static constexpr std::size_t bytes = 1u << 30, nodes = 1u << 20, items = 1u << 20, containers = 1u << 18, tensors = 1u << 16, depth = 64;
  static constexpr std::size_t marks = 1u << 16;                  // marks that are open at the same time
  static constexpr std::size_t names = 1u << 12;                  // different names
  static constexpr std::int64_t expanded = 1 << 20;               // elements of a tensor with more elements than its storage
  static constexpr std::int64_t storage = std::int64_t{1} << 48;  // elements of all storages
  static constexpr std::int64_t shared = 16;                      // tensors may have this many times the elements of all storages, plus `expanded`
};

class PickleTree {
 public:
  using Id = std::uint32_t;

  Id root = 0;
  std::size_t size = 0;  // bytes of the pickle, up to its end
  std::vector<PickledStorage> storages;
  std::deque<PickledTensor> tensors;

  PickleKind kind(Id id) const { return nodes_[id].kind; }
  std::int64_t integer(Id id) const { return nodes_[id].integer; }  // of an integer or boolean; the index of a tensor or storage
  double real(Id id) const { return nodes_[id].real; }
  std::string_view text(Id id) const { return bytes_.substr(std::size_t(nodes_[id].integer), nodes_[id].extra); }
  // The elements of a tuple, list or set; of a dict its keys and values in turn.
  const std::vector<Id>& items(Id id) const { return containers_[nodes_[id].extra]; }
  // "argparse.Namespace": the name itself, or the name that would have made an opaque value.
  const std::string& name(Id id) const { return names_[std::size_t(nodes_[id].integer)].full; }

 private:
  friend class PickleMachine;
  struct Node {
    PickleKind kind;
    std::uint32_t extra = 0;  // bytes of a text; index of a container
    union {
      std::int64_t integer;
      double real;
    };
  };
  struct Name {
    std::string full;
    std::uint8_t what;  // PickleName
  };
  std::string_view bytes_;
  std::deque<Node> nodes_;
  std::deque<std::vector<Id>> containers_;
  std::deque<Name> names_;
};

// Parses the pickle at the beginning of `bytes`, which must live as long as the tree. A FileError names `file`, `place`, the byte in the pickle,
// the fault and a remedy.
PickleTree parse_pickle(std::string_view bytes, const std::string& file, const std::string& place = "data.pkl");

}  // namespace fm
