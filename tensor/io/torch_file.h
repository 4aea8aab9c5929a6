// PyTorch checkpoints (.pt, .pth, .bin): the zip archives that torch.save writes since PyTorch 1.6.
//
//   <root>/data.pkl     what was saved, as a pickle (tensor/io/pickle.h): nothing in it is run
//   <root>/data/<key>   the bytes of a storage, little-endian; tensors are strided views of storages, which they may share
//   <root>/byteorder    "little"
//
// Storages are used where they lie in the mapped file: opening reads the pickle, and loading reads what is touched. Members are stored, not
// deflated. Half storages become f32, once each and when first asked for.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/io/pickle.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"

namespace fm {

struct TorchArchive;  // torch_file.cpp

// A value inside a checkpoint, which it keeps open. Not for several threads at a time.
class TorchValue {
 public:
  TorchValue(std::shared_ptr<const TorchArchive> archive, PickleTree::Id id) : archive_(std::move(archive)), id_(id) {}

  PickleKind kind() const;  // none, boolean, integer, real, text, tuple, list, dict, set or tensor
  bool is(PickleKind k) const { return kind() == k; }

  std::size_t size() const;                                    // entries of a tuple, list, set or dict
  TorchValue item(std::size_t i) const;                        // of a tuple, list or set, or a dict's value
  TorchValue key(std::size_t i) const;                         // a dict's, text or integer
  std::optional<TorchValue> find(std::string_view key) const;  // of a dict with such a text for a key

  std::int64_t integer() const;  // of an integer or boolean
  double number() const;         // of an integer, boolean or real
  std::string text() const;
  Tensor tensor() const;  // a view of its storage; tensors of one storage share memory

 private:
  void require(bool fits, const char* wanted) const;
  const PickleTree& tree() const;
  std::shared_ptr<const TorchArchive> archive_;
  PickleTree::Id id_;
};

// Opens a checkpoint. FileError naming file, place, what is wrong and a remedy: not such an archive, damaged, deflated or overlapping
// members, big-endian, calls of functions, element types that the engine lacks, storages that are absent or of the wrong size.
TorchValue open_torch_file(const std::filesystem::path& path);

// The tensors of a state dict, in its order.
//
// Looked for from `root`: where `key` leads ("ema", or "state/ema" through two dicts), and from there down through the first that is a dict
// of "ema", "state_dict", "model" and "module" until no such is left. What is not a tensor there (None, numbers) is left out. FileError
// with `file` and the entries that there are, when no dict with tensors is found.
NamedTensors torch_state_dict(const TorchValue& root, const std::string& key, const std::string& file);

}  // namespace fm
