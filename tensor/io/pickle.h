// What torch.save puts into data.pkl, read without running anything: Python's pickle, protocol 2, reduced to the opcodes and the names that
// PyTorch's own weights-only reader takes (torch/_weights_only_unpickler.py). A pickle is a program for a stack machine that may call any
// Python function; here a call is a row of a table (pickle_calls.cpp), and every other name is an error that says it.
//
// The result is a graph of nodes in one arena: an object that the file mentions twice is one node. It has no cycles, a bounded depth and a
// bounded size, whatever the bytes say. Strings stay where they are in the bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace fm {

enum class PickleKind : std::uint8_t { none, boolean, integer, real, text, tuple, list, dict, set, tensor, storage, name };
const char* name_of(PickleKind kind);  // as Python calls it

// An element type of PyTorch's and what it is read as: Half becomes f32, bool u8.
struct TorchType {
  const char* storage;  // torch.<this>
  std::size_t size;     // bytes in the file
  DType dtype;
};

struct PickledStorage {
  std::string_view key;  // the member data/<key>
  const TorchType* type;
  std::int64_t numel;
};

// Every element lies inside its storage: that is checked.
struct PickledTensor {
  std::uint32_t storage;  // index of PickleTree::storages
  std::int64_t offset;    // elements
  Shape shape;
  Strides strides;
};

// What a file may ask for; far beyond any checkpoint, far below 64 MiB altogether.
struct PickleLimits {
  static constexpr std::size_t bytes = 32u << 20, nodes = 1u << 20, items = 1u << 20, containers = 1u << 18, tensors = 1u << 16, depth = 64;
  static constexpr std::size_t marks = 1u << 16;                  // open at once
  static constexpr std::size_t text = 1u << 20;                   // bytes of a string
  static constexpr std::int64_t expanded = 1 << 20;               // elements of a tensor that repeats those of a smaller storage
  static constexpr std::int64_t storage = std::int64_t{1} << 48;  // elements of all storages
  static constexpr std::int64_t shared = 16;                      // elements of all tensors for each element of a storage, beside those
};

class PickleTree {
 public:
  using Id = std::uint32_t;

  Id root = 0;
  std::vector<PickledStorage> storages;
  std::deque<PickledTensor> tensors;

  PickleKind kind(Id id) const { return nodes_[id].kind; }
  std::int64_t integer(Id id) const { return nodes_[id].integer; }  // of an integer or boolean; the index of a tensor or storage
  double real(Id id) const { return nodes_[id].real; }
  std::string_view text(Id id) const { return bytes_.substr(std::size_t(nodes_[id].integer), nodes_[id].extra); }
  // Of a tuple or list; of a dict its keys and values in turn.
  const std::vector<Id>& items(Id id) const { return containers_[nodes_[id].extra]; }

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
  std::string_view bytes_;
  std::deque<Node> nodes_;
  std::deque<std::vector<Id>> containers_;
};

// `bytes` must live as long as the tree. FileError naming `file`, the place in the pickle, what is wrong, and a remedy.
PickleTree parse_pickle(std::string_view bytes, const std::string& file);

}  // namespace fm
