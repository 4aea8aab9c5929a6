// PyTorch checkpoints (.pt, .pth, .bin). The saved object is a pickle (tensor/io/pickle.h), which is not executed. Tensors are strided views of
// storages; several tensors may share one storage. Since PyTorch 1.6 torch.save writes a zip archive:
//
//   <root>/data.pkl     the pickle
//   <root>/data/<key>   the bytes of a storage
//   <root>/byteorder    "little" or "big"
//
// Before PyTorch 1.6 pickle and storages followed each other in one file (torch_legacy.cpp). Storages are used in place in the mapped file: opening
// reads the pickle, and loading reads only touched data. A storage whose type the engine lacks, or that is deflated, big-endian
// or misaligned, is copied once, on first request.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/io/pickle.h"
#include "tensor/io/weights_file.h"
#include "tensor/tensor.h"

namespace fm {

struct TorchArchive;  // torch_archive.h

// A value inside a checkpoint, which it keeps open. Values of one checkpoint must not be used by several threads at a time.
class TorchValue {
 public:
  TorchValue(std::shared_ptr<const TorchArchive> archive, PickleTree::Id id) : archive_(std::move(archive)), id_(id) {}

  PickleKind kind() const;
  bool is(PickleKind k) const { return kind() == k; }

  std::size_t size() const;                                    // entries of a tuple, list, set or dict
  TorchValue item(std::size_t i) const;                        // entry i of a tuple, list or set, or value i of a dict
  TorchValue key(std::size_t i) const;                         // key i of a dict: text, an integer, or another hashable Python value
  std::optional<TorchValue> find(std::string_view key) const;  // the value of a dict under this key; no value if it has none

  std::int64_t integer() const;  // value of an integer or boolean
  double number() const;         // value of an integer, boolean or real
  std::string text() const;
  // Returns a view of its storage; tensors of one storage share memory. UnreadError if the tensor cannot be read.
  Tensor tensor() const;
  std::string why_unread() const;  // the reason why a tensor cannot be read; empty if none is known before reading it
  std::string describe() const;    // for messages: "dict of 7", "object of argparse.Namespace"

 private:
  void require(bool fits, const char* wanted) const;
  const PickleTree& tree() const;
  std::shared_ptr<const TorchArchive> archive_;
  PickleTree::Id id_;
};

// Opens a checkpoint. Throws FileError with file, place, fault and remedy if the file is missing or damaged, has overlapping members, is a
// TorchScript archive, or has storages that are missing or of the wrong size. Contents that the engine lacks (objects, complex numbers) are no
// error here.
TorchValue open_torch_file(const std::filesystem::path& path);

// True if these first bytes of a file are those of torch.save before PyTorch 1.6.
bool is_legacy_torch(std::string_view bytes);

// Returns the tensors of a state dict, in its order.
//
// Starts at `root` and follows `key` ("ema"; "state/ema" through two dicts; a number is an integer key, or a place in a list). From there it descends
// into the first dict of "ema", "state_dict", "model" and "module" until none is left. If the result is a tensor, it is the only entry; a
// list names its tensors 0, 1, and so on. Objects, and tensors that cannot be read, are listed as unread. None, numbers, text and further dicts
// are left out. If no dict with tensors is found, a FileError names `file` and the existing entries.
FileTensors torch_state_dict(const TorchValue& root, const std::string& key, const std::string& file);

}  // namespace fm
