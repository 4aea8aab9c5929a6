#include "data/array_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/read_at.h"
#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/io/zip.h"

namespace fm {
namespace {

constexpr std::uint64_t max_verified = std::uint64_t(1) << 30;

struct Bytes {
  std::shared_ptr<std::byte> owner;
  std::string_view view;
};

Bytes bytes_of(const std::string& file, const std::string& name) {
  if (!is_npz(file)) {
    if (!name.empty()) throw ConfigError(fmt::format("{}: holds one array without a name, so {} cannot be selected: only a .npz has names", file, in_quotes(name)));
    const MappedFile mapped = map_file(file);
    return {mapped.data, mapped.bytes()};
  }
  const ZipReader zip(file);
  const ZipMember* member = zip.find(name + ".npy");
  if (!member)
    throw FileError(fmt::format("{}: no array {}; the file has {}", file, in_quotes(name), fmt::join(array_names(file), ", ")));
  if (member->method == 0) {
    if (member->size <= max_verified) zip.verify(*member);
    return {zip.owner(), zip.view(*member)};
  }
  const auto unpacked = std::make_shared<std::string>(zip.read(*member));
  return {{unpacked, reinterpret_cast<std::byte*>(unpacked->data())}, *unpacked};
}

// The indices of an element in its row: "3, 0" for element 9 of rows (4, 3).
std::string place_in_row(std::int64_t element, const Shape& shape) {
  std::string text;
  for (int d = shape.rank() - 1; d > 0; --d) {
    text = fmt::format("{}{}{}", element % shape[d], text.empty() ? "" : ", ", text);
    element /= shape[d];
  }
  return text;
}

template <class T>
bool to_float(T from, float& out) {
  out = static_cast<float>(from);
  if constexpr (std::is_integral_v<T>) return static_cast<double>(out) == static_cast<double>(from) && std::abs(static_cast<double>(from)) < 0x1p53;
  return std::isfinite(out);
}

template <class T>
std::int64_t convert(const T* from, std::int64_t n, float* out) {
  std::int64_t bad = -1;
  for (std::int64_t i = n - 1; i >= 0; --i)
    if (!to_float(from[i], out[i])) bad = i;
  return bad;
}

}  // namespace

bool is_npz(const std::string& file) {
  const OpenFile open(file);
  return open.size() >= 4 && open.read(0, 2) == "PK";
}

std::vector<std::string> array_names(const std::string& file) { return NpzReader(file).names(); }

ArrayRows::ArrayRows(const std::string& file, const std::string& name) : place_(name.empty() ? file : fmt::format("{}[{}]", file, one_line(name))) {
  const Bytes bytes = bytes_of(file, name);
  owner_ = bytes.owner;
  array_ = view_npy(bytes.view, place_);
  if (array_.shape.rank() == 0) throw FileError(fmt::format("{}: holds one number and no rows: samples are the rows of an array (N, ...)", place_));
  if (array_.fortran && array_.shape.rank() > 1)
    throw FileError(fmt::format("{}: the array is in Fortran order, in which the values of a row lie apart: save numpy.ascontiguousarray(x)", place_));
  for (int d = 1; d < array_.shape.rank(); ++d) row_size_ *= array_.shape[d];
  if (row_size_ == 0 || count() == 0) throw FileError(fmt::format("{}: the array of shape {} is empty: save an array (N, ...) with at least one row and one value per row", place_, to_string(array_.shape)));
}

Tensor ArrayRows::row(std::int64_t index) const {
  const auto bytes = static_cast<std::size_t>(row_size_) * size_of(array_.type);
  const auto* data = reinterpret_cast<const std::byte*>(array_.values.data()) + static_cast<std::size_t>(index) * bytes;
  return read_elements(owner_, data, row_size_, array_.type, place_, array_.big_endian);
}

void ArrayRows::read(std::int64_t index, float* out) const {
  const Tensor from = row(index);
  std::int64_t bad = -1;
  switch (from.dtype()) {
    case DType::f32: bad = convert(from.data<float>(), row_size_, out); break;
    case DType::f64: bad = convert(from.data<double>(), row_size_, out); break;
    case DType::bf16: bad = convert(from.data<bf16>(), row_size_, out); break;
    case DType::i32: bad = convert(from.data<std::int32_t>(), row_size_, out); break;
    case DType::i64: bad = convert(from.data<std::int64_t>(), row_size_, out); break;
    case DType::u8: bad = convert(from.data<std::uint8_t>(), row_size_, out); break;
  }
  if (bad < 0) return;
  const std::string place = shape().rank() > 1 ? fmt::format(" at [{}]", place_in_row(bad, shape())) : "";
  if (is_floating(from.dtype())) {
    const double value = from.slice(0, bad, bad + 1).to_vector<double>()[0];
    throw FileError(fmt::format("{}: row {} has {}{}: {}", place_, index, value, place,
                                std::isfinite(value) ? "beyond the range of f32; scale the values" : "remove the row or replace the value"));
  }
  throw FileError(fmt::format("{}: row {} has {}{}, which f32 does not hold exactly: scale the values, or save them as f32", place_, index,
                              from.slice(0, bad, bad + 1).to_vector<std::int64_t>()[0], place));
}

void ArrayRows::read(std::int64_t index, std::uint8_t* out) const {
  const Tensor from = row(index);
  std::copy_n(from.data<std::uint8_t>(), row_size_, out);
}

std::vector<std::int64_t> ArrayRows::integers() const {
  const bool column = shape().rank() == 1 || (shape().rank() == 2 && shape()[1] == 1);
  const DType dtype = *read_as(array_.type);
  if (!column || is_floating(dtype))
    throw FileError(fmt::format("{}: holds {} {}; labels are whole numbers of shape (N){}", place_, fm::name_of(array_.type), to_string(shape()),
                                column ? ": save labels.astype(numpy.int64)" : ": save labels.argmax(1) if they are one-hot"));
  return read_elements(owner_, reinterpret_cast<const std::byte*>(array_.values.data()), count(), array_.type, place_, array_.big_endian)
      .to_vector<std::int64_t>();
}

}  // namespace fm
