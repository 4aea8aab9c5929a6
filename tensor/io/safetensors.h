// The safetensors format (github.com/huggingface/safetensors): a header of JSON that names tensors, then their bytes.
//
//   u64 n, little-endian | n bytes of JSON {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...} | data
//
// Offsets count from the start of the data and must cover it without holes or overlap. `__metadata__` maps strings to strings.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/io/element_type.h"
#include "tensor/io/mapped_file.h"
#include "tensor/tensor.h"

namespace fm {

using Metadata = std::map<std::string, std::string>;

struct SafetensorsEntry {
  std::string name;
  std::string dtype;                   // as the file spells it
  std::optional<FileType> type;        // no value if unknown: then the size is not checked
  Shape shape;
  std::string why;                     // if not empty, why this tensor cannot be read although the file is sound
  std::size_t begin = 0, end = 0;      // bytes, from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;   // in the order of their data
  Metadata metadata;
  std::size_t data_begin = 0;              // the position of the data in the file
};

// Reads and checks the header of a whole file's bytes. Throws FileError that names `file`, the tensor and the fault.
SafetensorsHeader parse_safetensors(std::string_view bytes, const std::string& file);

// An open file. Types that the engine lacks become its next larger type (element_type.h). A tensor of a type that cannot be read, or of more
// than eight dimensions, is an error only if it is requested.
class Safetensors {
 public:
  explicit Safetensors(const std::filesystem::path& path);   // throws FileError

  const std::filesystem::path& path() const { return path_; }
  const Metadata& metadata() const { return header_.metadata; }
  const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  std::size_t size() const { return header_.entries.size(); }
  bool has(const std::string& name) const { return index_.contains(name); }

  // Returns a view into the mapped file, which it keeps open, or a copy if the alignment or type in the file requires one. FileError if the tensor
  // does not exist, UnreadError if it cannot be read.
  Tensor operator[](const std::string& name) const;
  NamedTensors tensors() const;        // all tensors, in the order of their data; UnreadError if one cannot be read
  // The readable tensors, in the order of their data. The others are listed in `unread`.
  NamedTensors tensors(std::vector<UnreadEntry>& unread) const;

 private:
  Tensor load(const SafetensorsEntry& entry) const;

  std::filesystem::path path_;
  MappedFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string, std::size_t> index_;
};

// Writes a file that appears under its name only when complete (tensor/io/atomic_file.h). Equal tensors and metadata give equal bytes:
// the tensors are sorted by falling alignment of the type, then by name, as the format's own writer does, and the header is padded to a multiple
// of 8 bytes. Returns the crc32c of the file. Throws FileError if a name occurs twice, a tensor is undefined, the disk is full, ...
//
// If `fetch` is given, `tensors` only give names, shapes and types. fetch is then called for each tensor in turn, in the order of in_file_order,
// and returns the values. So a file may be larger than the available memory, or its values may lie on other machines until then.
using FetchTensor = std::function<Tensor(const std::string& name, const Tensor& stand_in)>;
std::uint32_t save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata = {},
                               const FetchTensor& fetch = {});
NamedTensors in_file_order(const NamedTensors& tensors, const std::string& file);

}  // namespace fm
