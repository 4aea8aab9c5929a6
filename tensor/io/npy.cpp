#include "tensor/io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/element_type.h"
#include "tensor/io/file_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/io/npy_header.h"

namespace fm {
namespace {

constexpr std::size_t header_alignment = 64;

[[noreturn]] void fail(const std::string& name, const std::string& reason) { throw FileError(fmt::format("{}: {}", name, reason)); }

// Returns the number of values, or -1 if the product of the dimensions other than 0 overflows.
std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  bool empty = false;
  for (const std::int64_t d : shape) {
    if (d == 0)
      empty = true;
    else if (__builtin_mul_overflow(n, d, &n))
      return -1;
  }
  return empty ? 0 : n;
}

Strides column_major_strides(const Shape& shape) {
  Strides strides = Shape::filled(shape.rank(), 1);
  for (int i = 1; i < shape.rank(); ++i) strides[i] = strides[i - 1] * shape[i - 1];
  return strides;
}

std::string padded_header(const std::string& dictionary, std::size_t size) {
  std::string out(npy_magic);
  out += '\1', out += '\0';
  const std::size_t length = size - 10;
  out += char(length & 0xff), out += char(length >> 8);
  out += dictionary;
  out.resize(size - 1, ' ');
  return out + '\n';
}

std::string dictionary_of(DType dtype, const std::vector<std::int64_t>& shape) {
  if (dtype == DType::bf16) throw DTypeError("npy: NumPy has no bf16; convert to f32 first");
  const std::string type = fmt::format("{}{}", dtype == DType::u8 ? "|u" : is_floating(dtype) ? "<f" : "<i", size_of(dtype));
  return fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", type, fmt::join(shape, ", "),
                     shape.size() == 1 ? "," : "");
}

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void check_count(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape, std::size_t bytes) {
  const std::int64_t count = product(shape);
  if (count < 0 || std::size_t(count) * size_of(dtype) != bytes) {
    throw ShapeError(fmt::format("npy {}: shape ({}) of {} does not take the given {} bytes", in_quotes(name), fmt::join(shape, ", "), name_of(dtype), bytes));
  }
}

}  // namespace

NpyArray view_npy(std::string_view bytes, const std::string& name) {
  const NpyHeader header = parse_npy_header(bytes, name);
  if (!header.type) throw UnreadError(name, header.why);
  if (!read_as(*header.type)) throw UnreadError(name, cannot_read(*header.type));
  if (header.shape.size() > std::size_t(max_rank))
    throw UnreadError(name, fmt::format("it has {} dimensions, at most {} are supported: reshape it", header.shape.size(), max_rank));
  const std::int64_t count = product(header.shape);
  const std::string_view values = bytes.substr(header.size);
  const std::size_t size = size_of(*header.type);
  if (count < 0 || values.size() / size < std::size_t(count))
    fail(name, fmt::format("it has {} bytes of values, but the shape ({}) of {} needs more: is the file cut off?", values.size(),
                           fmt::join(header.shape, ", "), name_of(*header.type)));
  if (values.size() != std::size_t(count) * size)
    fail(name, fmt::format("{} bytes follow the array: only one array in a .npy can be read, so save several with numpy.savez",
                           values.size() - std::size_t(count) * size));
  NpyArray array{*header.type, header.big_endian, header.fortran, {}, values};
  for (const std::int64_t d : header.shape) array.shape.push_back(d);
  return array;
}

Tensor parse_npy(const std::shared_ptr<std::byte>& owner, std::string_view bytes, const std::string& name) {
  const NpyArray a = view_npy(bytes, name);
  const Tensor flat =
      read_elements(owner, reinterpret_cast<const std::byte*>(a.values.data()), a.shape.numel(), a.type, name, a.big_endian);
  return flat.as_strided(a.shape, a.fortran ? column_major_strides(a.shape) : row_major_strides(a.shape));
}

Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file = map_file(path);
  return parse_npy(file.data, file.bytes(), path.string());
}

std::string npy_header(DType dtype, const std::vector<std::int64_t>& shape) {
  const std::string dictionary = dictionary_of(dtype, shape);
  return padded_header(dictionary, (10 + dictionary.size() + 1 + header_alignment - 1) / header_alignment * header_alignment);
}

void write_npy(const std::filesystem::path& path, DType dtype, const std::vector<std::int64_t>& shape, std::span<const std::byte> values) {
  check_count(path.string(), dtype, shape, values.size());
  AtomicFile file(path);
  file.write(npy_header(dtype, shape));
  file.write(text_of(values));
  file.commit();
}

void NpzWriter::begin(const std::string& name, DType dtype, const std::vector<std::int64_t>& row_shape) {
  const std::int64_t row = product(row_shape);
  if (row < 1) throw ShapeError(fmt::format("npz {}: rows of shape ({}) have no elements", in_quotes(name), fmt::join(row_shape, ", ")));
  name_ = name, dtype_ = dtype;
  shape_ = row_shape;
  shape_.insert(shape_.begin(), std::numeric_limits<std::int64_t>::max());  // the longest number, so that the final header fits
  row_bytes_ = std::size_t(row) * size_of(dtype);
  head_size_ = npy_header(dtype, shape_).size();
  shape_[0] = 0;
  zip_.begin(name + ".npy", head_size_);
}

void NpzWriter::append_bytes(DType dtype, std::span<const std::byte> values) {
  if (dtype != dtype_) throw DTypeError(fmt::format("npz {}: {} values were given for an array of {}", in_quotes(name_), name_of(dtype), name_of(dtype_)));
  if (row_bytes_ == 0 || values.size() % row_bytes_ != 0) {
    throw ShapeError(fmt::format("npz {}: {} bytes are not whole rows of {} bytes", in_quotes(name_), values.size(), row_bytes_));
  }
  zip_.write(text_of(values));
  shape_[0] += std::int64_t(values.size() / row_bytes_);
}

void NpzWriter::end() { zip_.end(padded_header(dictionary_of(dtype_, shape_), head_size_)); }

void NpzWriter::add_bytes(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape, std::span<const std::byte> values) {
  check_count(name, dtype, shape, values.size());
  zip_.begin(name + ".npy");
  zip_.write(npy_header(dtype, shape));
  zip_.write(text_of(values));
  zip_.end();
}

std::vector<std::string> NpzReader::names() const {
  std::vector<std::string> names;
  for (const ZipMember& m : zip_.members()) {
    const std::string_view name = m.name;
    if (name.ends_with(".npy")) names.emplace_back(name.substr(0, name.size() - 4));
  }
  return names;
}

std::string NpzReader::names_text() const {
  constexpr std::size_t most = 12;
  const std::vector<std::string> all = names();
  std::string out;
  for (std::size_t i = 0; i < std::min(all.size(), most); ++i) out += (i ? ", " : "") + one_line(all[i]);
  return all.size() > most ? fmt::format("{} and {} more", out, all.size() - most) : out.empty() ? "none" : out;
}

Tensor NpzReader::read(const std::string& name) const {
  const ZipMember* member = zip_.find(name + ".npy");
  if (!member) throw FileError(fmt::format("{}: no array {}; it has {}", path_.string(), in_quotes(name), names_text()));
  const std::string place = fmt::format("{}[{}]", path_.string(), one_line(name));
  if (member->method == 0) {
    zip_.verify(*member);
    return parse_npy(zip_.owner(), zip_.view(*member), place);
  }
  const auto unpacked = std::make_shared<std::string>(zip_.read(*member));
  return parse_npy({unpacked, reinterpret_cast<std::byte*>(unpacked->data())}, *unpacked, place);
}

}  // namespace fm
