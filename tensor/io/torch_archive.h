// An open PyTorch checkpoint of either layout: its pickle, and where the bytes of its storages lie. Of use to torch_*.cpp only.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/io/mapped_file.h"
#include "tensor/io/pickle.h"
#include "tensor/io/zip.h"

namespace fm {

struct TorchArchive {
  std::filesystem::path path;
  MappedFile file;
  std::string unpacked_pickle;  // if the file does not contain it unpacked
  PickleTree tree;
  std::vector<std::string_view> data;           // bytes of every storage, in the mapped file; of a deflated member: none
  std::unique_ptr<ZipReader> zip;               // of the zip layout,
  std::map<std::uint32_t, ZipMember> deflated;  // and the storages that are to be unpacked
  bool big_endian = false;
  // Vectors of storages by index and type, made on request.
  mutable std::map<std::pair<std::uint32_t, FileType>, Tensor> flat;

  Tensor storage(std::uint32_t index, FileType type) const;
  // UnreadError naming `name` when it cannot be read.
  Tensor tensor(const PickledTensor& t, const std::string& name) const;
};

// The layout of PyTorch 0.1.10 to 1.5 (torch_legacy.cpp).
bool is_legacy_torch(std::string_view bytes);
void open_legacy(TorchArchive& archive);

}  // namespace fm
