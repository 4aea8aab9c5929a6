// NumPy's array files (numpy/lib/format.py): one array in .npy, named arrays in the zip .npz.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/io/element_type.h"
#include "tensor/io/zip.h"
#include "tensor/tensor.h"

namespace fm {

// Reads the array in the bytes of a .npy file, in C or Fortran order. The tensor is a view of the bytes, which `owner` keeps alive, if type,
// alignment and byte order allow it, else a converted copy (element_type.h; V2 is bf16, as JAX saves it). UnreadError for complex or structured
// elements, Python objects, text and dates, FileError for a damaged file. Both messages contain `name`.
struct NpyArray;
NpyArray view_npy(std::string_view bytes, const std::string& name);       // the same checks, but the values are neither copied nor converted
Tensor parse_npy(const std::shared_ptr<std::byte>& owner, std::string_view bytes, const std::string& name);
Tensor read_npy(const std::filesystem::path& path);

// The parts of a .npy file, for readers that convert some rows at a time with read_elements (element_type.h).
struct NpyArray {
  FileType type = FileType::f32;
  bool big_endian = false, fortran = false;
  Shape shape;
  std::string_view values;
};

// Returns all bytes before the values, a multiple of 64. DTypeError for bf16, which NumPy does not have.
std::string npy_header(DType dtype, const std::vector<std::int64_t>& shape);

void write_npy(const std::filesystem::path& path, DType dtype, const std::vector<std::int64_t>& shape, std::span<const std::byte> values);
template <class T>
void write_npy(const std::filesystem::path& path, const std::vector<std::int64_t>& shape, std::span<const T> values) {
  write_npy(path, dtype_of<T>, shape, std::as_bytes(values));
}

// Writes an uncompressed .npz (zip64), which appears under its name with finish(). Arrays are written row by row, so their first dimension need
// not be known at the start.
class NpzWriter {
 public:
  explicit NpzWriter(const std::filesystem::path& path) : zip_(path) {}

  // Adds a whole array. ShapeError if shape and number of values disagree.
  template <class T>
  void add(const std::string& name, const std::vector<std::int64_t>& shape, std::span<const T> values) {
    add_bytes(name, dtype_of<T>, shape, std::as_bytes(values));
  }
  template <class T>
  void add(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<T>& values) {
    add<T>(name, shape, std::span<const T>(values));
  }

  // Writes an array (rows, row_shape...) in pieces: call begin(), then append() with whole rows as often as needed, then end().
  void begin(const std::string& name, DType dtype, const std::vector<std::int64_t>& row_shape);
  template <class T>
  void append(std::span<const T> rows) {
    append_bytes(dtype_of<T>, std::as_bytes(rows));
  }
  void end();

  void finish() { zip_.finish(); }

 private:
  void add_bytes(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape, std::span<const std::byte> values);
  void append_bytes(DType dtype, std::span<const std::byte> values);

  ZipWriter zip_;
  std::string name_;
  DType dtype_ = DType::u8;
  std::vector<std::int64_t> shape_;  // shape_[0] counts rows
  std::size_t head_size_ = 0, row_bytes_ = 0;
};

// Reads the arrays of a .npz file. ADM's reference batches, for example, have arr_0 (N, H, W, 3) u8, and mu (2048) and sigma (2048, 2048) f64.
class NpzReader {
 public:
  explicit NpzReader(const std::filesystem::path& path) : path_(path), zip_(path) {}
  std::vector<std::string> names() const;  // without ".npy"
  bool has(const std::string& name) const { return zip_.find(name + ".npy") != nullptr; }
  // Returns a view of the mapped file if the array is stored uncompressed, else unpacked memory. Verifies the checksum. If `name` is missing, the
  // FileError lists the existing arrays.
  Tensor read(const std::string& name) const;

 private:
  std::string names_text() const;
  std::filesystem::path path_;
  ZipReader zip_;
};

}  // namespace fm
