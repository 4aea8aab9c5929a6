// An open PyTorch checkpoint of either layout: its pickle and the places of its storages. Only torch_*.cpp use it.
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
  std::string unpacked_pickle;  // empty if the file contains the pickle uncompressed
  PickleTree tree;
  std::vector<std::string_view> data;           // bytes of every storage, in the mapped file; empty for a deflated member
  std::unique_ptr<ZipReader> zip;               // null in the legacy layout
  std::map<std::uint32_t, ZipMember> deflated;  // members of the deflated storages, by index
  bool big_endian = false;
  // Storages as vectors, by index and type; each is made on its first request.
  mutable std::map<std::pair<std::uint32_t, FileType>, Tensor> flat;

  Tensor storage(std::uint32_t index, FileType type) const;
  // UnreadError with `name` if the tensor cannot be read.
  Tensor tensor(const PickledTensor& t, const std::string& name) const;
};

// The layout of PyTorch 0.1.10 to 1.5 (torch_legacy.cpp).
bool is_legacy_torch(std::string_view bytes);
void open_legacy(TorchArchive& archive);

}  // namespace fm
