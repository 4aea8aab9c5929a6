#include "data/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t header_alignment = 64;

struct Kind {
  const char* descr;
  DType dtype;
};
constexpr Kind kinds[] = {{"<f4", DType::f32}, {"<f8", DType::f64}, {"<i4", DType::i32}, {"<i8", DType::i64},
                          {"|u1", DType::u8},  {"<u1", DType::u8},  {"|b1", DType::u8}};

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
      if (key == "descr") h.descr = quoted(), has_descr = true;
      else if (key == "fortran_order") h.fortran = boolean(), has_order = true;
      else if (key == "shape") h.shape = tuple(), has_shape = true;
      else bad();
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

// Number of values, or -1 when it does not fit.
std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (std::int64_t d : shape) {
    if (__builtin_mul_overflow(n, d, &n)) return -1;
  }
  return n;
}

// First index fastest -> last index fastest.
std::string in_c_order(std::string_view fortran, const std::vector<std::int64_t>& shape, std::size_t item) {
  std::string out(fortran.size(), '\0');
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::size_t to = 0; to < out.size(); to += item) {
    std::int64_t from = 0;
    for (std::size_t d = shape.size(); d-- > 0;) from = from * shape[d] + index[d];
    fortran.copy(out.data() + to, item, std::size_t(from) * item);
    for (std::size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];) index[d] = 0;
  }
  return out;
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
    if (kind.dtype != dtype) continue;
    return fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", kind.descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
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

void NpyArray::require(DType wanted) const {
  if (wanted != dtype) throw DTypeError(fmt::format("{}: the array is {}, {} is needed", name, name_of(dtype), name_of(wanted)));
}

NpyArray parse_npy(std::string_view bytes, const std::string& name) {
  const auto [offset, text] = split_header(bytes, name);
  const auto header = HeaderParser(text, name).parse();
  NpyArray array;
  array.name = name, array.shape = header.shape;
  const auto kind = std::find_if(std::begin(kinds), std::end(kinds), [&](const Kind& k) { return header.descr == k.descr; });
  if (kind == std::end(kinds)) fail(name, fmt::format("type '{}'; <f4, <f8, <i4, <i8, |u1 and |b1 can be read", header.descr));
  array.dtype = kind->dtype;
  const std::int64_t count = product(header.shape);
  const std::string_view values = bytes.substr(offset);
  if (count < 0 || values.size() / size_of(array.dtype) != std::size_t(count) || values.size() % size_of(array.dtype) != 0) {
    fail(name, fmt::format("{} bytes of values where the shape ({}) of {} needs another number", values.size(), fmt::join(header.shape, ", "),
                           header.descr));
  }
  array.bytes = header.fortran ? in_c_order(values, header.shape, size_of(array.dtype)) : std::string(values);
  return array;
}

NpyArray read_npy(const std::filesystem::path& path) { return parse_npy(map_file(path).bytes(), path.string()); }

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

NpyArray NpzReader::read(const std::string& name) const {
  const ZipMember* member = zip_.find(name + ".npy");
  if (!member) throw FileError(fmt::format("{}: no array '{}'; it has {}", path_.string(), name, fmt::join(names(), ", ")));
  return parse_npy(zip_.read(*member), fmt::format("{}[{}]", path_.string(), name));
}

}  // namespace fm
