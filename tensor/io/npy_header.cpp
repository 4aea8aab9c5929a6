#include "tensor/io/npy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "tensor/error.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

// Parses the dictionary of a header, a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. The descr of a structured array
// is a list; its text is kept.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  struct Header {
    std::string descr;
    bool structured = false, fortran = false;
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
        has_descr = true, description(h);
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
  [[noreturn]] void bad() const { throw FileError(fmt::format("{}: not a plain NumPy array: header '{}'", name_, one_line(text_, 120))); }
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
  // Reads a quoted type, or the list of a structured type up to its closing bracket.
  void description(Header& h) {
    skip_spaces();
    h.structured = at_ < text_.size() && text_[at_] == '[';
    if (!h.structured) {
      h.descr = quoted();
      return;
    }
    const std::size_t begin = at_;
    int open = 0;
    do {
      if (at_ >= text_.size()) bad();
      const char c = text_[at_];
      if (c == '\'' || c == '"') {
        quoted();
        continue;
      }
      open += c == '[' ? 1 : c == ']' ? -1 : 0;
      ++at_;
    } while (open > 0);
    h.descr = text_.substr(begin, at_ - begin);
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
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // a `long` of Python 2
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

// Returns the offset of the values and the text of the header.
std::pair<std::size_t, std::string_view> split_header(std::string_view bytes, const std::string& name) {
  if (!bytes.starts_with(npy_magic)) throw UnreadError(name, "not a NumPy array file");
  if (bytes.size() < 12) throw FileError(fmt::format("{}: cut off inside its header", name));
  const int version = bytes[6];
  if (version < 1 || version > 3) throw UnreadError(name, fmt::format("version {} of NumPy's array files cannot be read; 1 to 3 can", version));
  const std::size_t wide = version == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = 0; i < wide; ++i) length |= std::size_t(static_cast<unsigned char>(bytes[8 + i])) << 8 * i;
  if (length > bytes.size() - 8 - wide) throw FileError(fmt::format("{}: cut off inside its header", name));
  return {8 + wide + length, bytes.substr(8 + wide, length)};
}

// Returns the type for the text after the byte order, such as "f4".
std::optional<FileType> type_of(std::string_view text) {
  static constexpr std::pair<std::string_view, FileType> types[] = {
      {"f2", FileType::f16},       {"f4", FileType::f32},        {"f8", FileType::f64}, {"f12", FileType::f128},   {"f16", FileType::f128},
      {"i1", FileType::i8},        {"i2", FileType::i16},        {"i4", FileType::i32}, {"i8", FileType::i64},     {"u1", FileType::u8},
      {"u2", FileType::u16},       {"u4", FileType::u32},        {"u8", FileType::u64}, {"b1", FileType::boolean}, {"V2", FileType::bf16},
      {"c8", FileType::complex64}, {"c16", FileType::complex128}};
  const auto found = std::find_if(std::begin(types), std::end(types), [&](const auto& t) { return t.first == text; });
  return found == std::end(types) ? std::nullopt : std::optional(found->second);
}

std::string why_unread(const std::string& descr, bool structured) {
  if (structured) return fmt::format("a structured array, {}: save each of its fields as an array", in_quotes(descr));
  if (descr.find('O') != descr.npos) return "an array of Python objects: nothing from a file is run here; save it with a numeric type";
  return fmt::format("elements of type {} cannot be read: convert them with astype to <f2, <f4, <f8, integers of 1 to 8 bytes or |b1", in_quotes(descr));
}

}  // namespace

NpyHeader parse_npy_header(std::string_view bytes, const std::string& name) {
  const auto [offset, text] = split_header(bytes, name);
  HeaderParser::Header parsed = HeaderParser(text, name).parse();
  NpyHeader header;
  header.fortran = parsed.fortran, header.shape = std::move(parsed.shape), header.size = offset;
  const std::string& descr = parsed.descr;
  if (!parsed.structured && !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos) {
    header.type = type_of(std::string_view(descr).substr(1));
    header.big_endian = descr[0] == '>';
  }
  if (!header.type) header.why = why_unread(descr, parsed.structured);
  return header;
}

}  // namespace fm
