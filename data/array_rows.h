// One array in a file as rows that are converted when they are read; used by array_source.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/io/npy.h"

namespace fm {

class ArrayRows {
 public:
  // Opens the array of a .npy file, or the array `name` of a .npz. A stored array is mapped, a deflated one is unpacked into memory. The checksum of a
  // stored array is verified if it has at most 1 GiB. FileError: no such array; Fortran order with two dimensions or more; no dimension; no values.
  ArrayRows(const std::string& file, const std::string& name);

  const std::string& place() const { return place_; }  // "FILE[name]", for messages
  const Shape& shape() const { return array_.shape; }
  FileType type() const { return array_.type; }
  std::int64_t count() const { return array_.shape[0]; }
  std::int64_t row_size() const { return row_size_; }  // elements
  std::uint64_t bytes() const { return array_.values.size(); }

  Tensor row(std::int64_t index) const;                // a view or a copy, in the type that element_type.h gives for the file's type
  // The row's values as f32. FileError: see array_source.h.
  void read(std::int64_t index, float* out) const;
  void read(std::int64_t index, std::uint8_t* out) const;  // for arrays of u8 only
  std::vector<std::int64_t> integers() const;          // all values of an array (N) or (N, 1). FileError for other shapes and floats

 private:
  std::string place_;
  std::shared_ptr<std::byte> owner_;
  NpyArray array_;
  std::int64_t row_size_ = 1;
};

// The names of the arrays of a .npz.
std::vector<std::string> array_names(const std::string& file);
bool is_npz(const std::string& file);  // by its first bytes

}  // namespace fm
