#include "tensor/io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_text.h"
#include "tensor/io/half.h"
#include "tensor/io/mapped_file.h"

namespace fm {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t header_alignment = 64;

struct Kind {
  const char* descr;
  DType dtype;
  std::size_t size;  // bytes in the file
};
constexpr Kind kinds[] = {{"<f4", DType::f32, 4}, {"<f8", DType::f64, 8}, {"<i4", DType::i32, 4}, {"<i8", DType::i64, 8},
                          {"|u1", DType::u8, 1},  {"<u1", DType::u8, 1},  {"|b1", DType::u8, 1},  {"<f2", DType::f32, 2}};

[[noreturn]] void fail(const std::string& name, const std::string& reason) { throw FileError(fmt::format("{}: {}", name, reason)); }

// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. This reads such dictionaries and no others.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  struct Header {
    std::string descr;
    bool fortran = false;
    std::vector<std::int64_t> shape;
  };

  Header parse() {
    Header h;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr")
        h.descr = quoted(), has_descr = true;
      else if (key == "fortran_order")
        h.fortran = boolean(), has_order = true;
      else if (key == "shape")
        h.shape = tuple(), has_shape = true;
      else
        bad();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!has_descr || !has_order || !has_shape) bad();
    return h;
  }

 private:
  [[noreturn]] void bad() const { fail(name_, fmt::format("not a plain NumPy array: header '{}'", text_.substr(0, 120))); }
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) bad();
  }
  std::string quoted() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const std::size_t close = text_.find(quote, at_);
    if (close == text_.npos) bad();
    const std::string out(text_.substr(at_, close - at_));
    at_ = close + 1;
    return out;
  }
  bool boolean() {
    skip_spaces();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    bad();
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> numbers;
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      std::int64_t n = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), n);
      if (error != std::errc() || n < 0) bad();
      at_ = std::size_t(end - text_.data());
      numbers.push_back(n);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return numbers;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

// Number of values, or -1 when it or a product of the dimensions beside a 0 does not fit.
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

// A vector of the values, where they lie if their type and place allow it.
Tensor flat_values(const std::shared_ptr<std::byte>& owner, std::string_view values, const Kind& kind, std::int64_t count) {
  auto* data = reinterpret_cast<std::byte*>(const_cast<char*>(values.data()));
  const bool wide = kind.size == size_of(kind.dtype);
  if (wide && reinterpret_cast<std::uintptr_t>(data) % kind.size == 0) return Tensor::view_of({owner, data}, data, {count}, kind.dtype);
  Tensor copy = Tensor::empty({count}, kind.dtype, Device{});
  if (!wide)
    widen_halves(data, count, copy.data<float>());
  else if (count > 0)
    std::memcpy(copy.raw(), data, values.size());
  return copy;
}

Strides column_major_strides(const Shape& shape) {
  Strides strides = Shape::filled(shape.rank(), 1);
  for (int i = 1; i < shape.rank(); ++i) strides[i] = strides[i - 1] * shape[i - 1];
  return strides;
}

// Offset of the values and the header's text.
std::pair<std::size_t, std::string_view> split_header(std::string_view bytes, const std::string& name) {
  if (bytes.size() < 12 || bytes.substr(0, 6) != magic) fail(name, "not a NumPy array file");
  const int version = bytes[6];
  if (version < 1 || version > 3) fail(name, fmt::format("version {} of NumPy's array files; 1 to 3 can be read", version));
  const std::size_t wide = version == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = 0; i < wide; ++i) length |= std::size_t(static_cast<unsigned char>(bytes[8 + i])) << 8 * i;
  if (length > bytes.size() - 8 - wide) fail(name, "cut off inside its header");
  return {8 + wide + length, bytes.substr(8 + wide, length)};
}

std::string padded_header(const std::string& dictionary, std::size_t size) {
  std::string out(magic);
  out += '\1', out += '\0';
  const std::size_t length = size - 10;
  out += char(length & 0xff), out += char(length >> 8);
  out += dictionary;
  out.resize(size - 1, ' ');
  return out + '\n';
}

std::string dictionary_of(DType dtype, const std::vector<std::int64_t>& shape) {
  for (const Kind& kind : kinds) {
    if (kind.dtype != dtype || kind.size != size_of(dtype)) continue;
    return fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", kind.descr, fmt::join(shape, ", "),
                       shape.size() == 1 ? "," : "");
  }
  throw DTypeError(fmt::format("npy: NumPy has no {}; convert to f32 first", name_of(dtype)));
}

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void check_count(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape, std::size_t bytes) {
  const std::int64_t count = product(shape);
  if (count < 0 || std::size_t(count) * size_of(dtype) != bytes) {
    throw ShapeError(fmt::format("npy '{}': shape ({}) of {} does not have {} bytes", name, fmt::join(shape, ", "), name_of(dtype), bytes));
  }
}

}  // namespace

Tensor parse_npy(const std::shared_ptr<std::byte>& owner, std::string_view bytes, const std::string& name) {
  const auto [offset, text] = split_header(bytes, name);
  const auto header = HeaderParser(text, name).parse();
  const auto kind = std::find_if(std::begin(kinds), std::end(kinds), [&](const Kind& k) { return header.descr == k.descr; });
  if (kind == std::end(kinds))
    fail(name, fmt::format("type {}; <f2, <f4, <f8, <i4, <i8, |u1 and |b1 can be read: convert with astype", in_quotes(header.descr)));
  if (header.shape.size() > std::size_t(max_rank))
    fail(name, fmt::format("{} dimensions, at most {} are supported: reshape it", header.shape.size(), max_rank));
  const std::int64_t count = product(header.shape);
  const std::string_view values = bytes.substr(offset);
  if (count < 0 || values.size() / kind->size != std::size_t(count) || values.size() % kind->size != 0) {
    fail(name, fmt::format("{} bytes of values where the shape ({}) of {} needs another number: is it cut off?", values.size(),
                           fmt::join(header.shape, ", "), header.descr));
  }
  Shape shape;
  for (const std::int64_t d : header.shape) shape.push_back(d);
  const Tensor flat = flat_values(owner, values, *kind, count);
  return flat.as_strided(shape, header.fortran ? column_major_strides(shape) : row_major_strides(shape));
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
  if (row < 1) throw ShapeError(fmt::format("npz '{}': rows of shape ({}) hold nothing", name, fmt::join(row_shape, ", ")));
  name_ = name, dtype_ = dtype;
  shape_ = row_shape;
  shape_.insert(shape_.begin(), std::numeric_limits<std::int64_t>::max());  // the longest number: the header will fit
  row_bytes_ = std::size_t(row) * size_of(dtype);
  head_size_ = npy_header(dtype, shape_).size();
  shape_[0] = 0;
  zip_.begin(name + ".npy", head_size_);
}

void NpzWriter::append_bytes(DType dtype, std::span<const std::byte> values) {
  if (dtype != dtype_) throw DTypeError(fmt::format("npz '{}': {} values for an array of {}", name_, name_of(dtype), name_of(dtype_)));
  if (row_bytes_ == 0 || values.size() % row_bytes_ != 0) {
    throw ShapeError(fmt::format("npz '{}': {} bytes are not whole rows of {} bytes", name_, values.size(), row_bytes_));
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

Tensor NpzReader::read(const std::string& name) const {
  const ZipMember* member = zip_.find(name + ".npy");
  if (!member) throw FileError(fmt::format("{}: no array '{}'; it has {}", path_.string(), name, fmt::join(names(), ", ")));
  const std::string place = fmt::format("{}[{}]", path_.string(), name);
  if (member->method == 0) {
    zip_.verify(*member);
    return parse_npy(zip_.owner(), zip_.view(*member), place);
  }
  const auto unpacked = std::make_shared<std::string>(zip_.read(*member));
  return parse_npy({unpacked, reinterpret_cast<std::byte*>(unpacked->data())}, *unpacked, place);
}

}  // namespace fm
