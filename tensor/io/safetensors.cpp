#include "tensor/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

using nlohmann::json;

constexpr std::uint64_t header_limit = 100'000'000;
constexpr std::size_t element_limit = std::size_t{1} << 58;  // an element has at most 16 bytes
constexpr const char* metadata_key = "__metadata__";

struct SpelledType {
  const char* name;
  FileType type;
};

// The first six are written. They stand in the order in which the format's own writer sorts types.
constexpr SpelledType spellings[] = {{"I64", FileType::i64},
                                 {"F64", FileType::f64},
                                 {"F32", FileType::f32},
                                 {"I32", FileType::i32},
                                 {"BF16", FileType::bf16},
                                 {"U8", FileType::u8},
                                 {"F16", FileType::f16},
                                 {"BOOL", FileType::boolean},
                                 {"I8", FileType::i8},
                                 {"I16", FileType::i16},
                                 {"U16", FileType::u16},
                                 {"U32", FileType::u32},
                                 {"U64", FileType::u64},
                                 {"F8_E4M3", FileType::f8_e4m3},
                                 {"F8_E5M2", FileType::f8_e5m2},
                                 {"F8_E4M3FNUZ", FileType::f8_e4m3fnuz},
                                 {"F8_E5M2FNUZ", FileType::f8_e5m2fnuz},
                                 {"F8_E8M0", FileType::f8_e8m0},
                                 {"C64", FileType::complex64}};

std::optional<FileType> find_type(std::string_view name) {
  for (const SpelledType& s : spellings)
    if (name == s.name) return s.type;
  return std::nullopt;
}

const SpelledType& type_written(DType dtype) {
  for (const SpelledType& s : spellings)
    if (read_as(s.type) == dtype) return s;
  throw DTypeError(fmt::format("safetensors: {} cannot be written", name_of(dtype)));
}

// ---- reading ----------------------------------------------------------------------------------------------------------------------

struct Problem {
  const std::string& file;
  [[noreturn]] void operator()(const std::string& what) const {
    throw FileError(fmt::format("{}: not a valid safetensors file: {}", file, what));
  }
  [[noreturn]] void operator()(const std::string& tensor, const std::string& what) const {
    (*this)(fmt::format("tensor {}: {}", in_quotes(tensor), what));
  }
};

std::string_view header_text(std::string_view bytes, const Problem& fail) {
  if (bytes.size() < 8) fail(fmt::format("it has {} bytes, the header's length alone takes 8", bytes.size()));
  std::uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  if (length > header_limit)
    fail(fmt::format("a header of {} bytes (the limit is {}); is this another kind of file?", length, header_limit));
  if (length > bytes.size() - 8) fail(fmt::format("cut short: its header takes {} bytes, but the whole file has {}", length, bytes.size()));
  const std::string_view text = bytes.substr(8, length);
  if (text.empty() || text[0] != '{') fail("the header does not start with '{'");
  return text;
}

// nlohmann::json silently keeps the last of two equal keys, so keys are checked during parsing. The depth, at most 3, is checked too.
json parse_header(std::string_view text, const Problem& fail) {
  std::vector<std::unordered_set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 3) fail("the header is nested too deeply");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      fail(fmt::format("the key {} occurs twice", in_quotes(value.get<std::string>())));
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& e) {
    fail("the header is not JSON: " + one_line(e.what(), 200));
  }
}

Metadata parse_metadata(const json& object, const Problem& fail) {
  Metadata metadata;
  if (object.is_null()) return metadata;
  if (!object.is_object()) fail("__metadata__ is not an object");
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) fail(fmt::format("__metadata__ {} is not a string", in_quotes(key)));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

const json& field(const json& entry, const std::string& name, const char* key, json::value_t type, const Problem& fail) {
  const auto it = entry.find(key);
  if (it == entry.end()) fail(name, fmt::format("{} is missing", key));
  if (it->type() != type) fail(name, fmt::format("{} is not {}", key, type == json::value_t::array ? "an array" : "a string"));
  return *it;
}

std::size_t count(const json& value, const std::string& name, const char* key, const Problem& fail) {
  if (!value.is_number_unsigned()) fail(name, fmt::format("{} must hold whole numbers of zero or more only", key));
  return value.get<std::size_t>();
}

// Reads the dimensions and their product. Fails if the product overflows, even if a zero would hide that. If there are more than eight dimensions,
// keeps the first eight and returns false.
bool parse_shape(const json& dims, const std::string& name, Shape& shape, std::size_t& elements, const Problem& fail) {
  std::size_t product = 1;
  bool empty = false;
  for (const json& d : dims) {
    const std::size_t n = count(d, name, "shape", fail);
    if (n == 0) empty = true;
    else if (__builtin_mul_overflow(product, n, &product) || product > element_limit) fail(name, "its shape is impossibly large");
    if (n > element_limit) fail(name, "its shape is impossibly large");
    if (shape.rank() < max_rank) shape.push_back(static_cast<std::int64_t>(n));
  }
  elements = empty ? 0 : product;
  return dims.size() <= std::size_t(max_rank);
}

SafetensorsEntry parse_entry(const std::string& name, const json& value, const Problem& fail) {
  if (!value.is_object()) fail(name, "its description is not an object");
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = field(value, name, "dtype", json::value_t::string, fail).get<std::string>();
  entry.type = find_type(entry.dtype);
  if (!entry.type || !read_as(*entry.type)) entry.why = entry.type ? cannot_read(*entry.type) : cannot_read(entry.dtype);
  std::size_t elements = 0;
  const json& dims = field(value, name, "shape", json::value_t::array, fail);
  if (!parse_shape(dims, name, entry.shape, elements, fail) && entry.why.empty())
    entry.why = fmt::format("it has {} dimensions, at most {} are supported: reshape it before saving", dims.size(), max_rank);
  const json& offsets = field(value, name, "data_offsets", json::value_t::array, fail);
  if (offsets.size() != 2) fail(name, fmt::format("data_offsets has {} numbers instead of 2", offsets.size()));
  entry.begin = count(offsets[0], name, "data_offsets", fail);
  entry.end = count(offsets[1], name, "data_offsets", fail);
  if (entry.end < entry.begin) fail(name, fmt::format("data_offsets [{}, {}] run backwards", entry.begin, entry.end));
  if (entry.type && entry.end - entry.begin != elements * size_of(*entry.type))
    fail(name, fmt::format("{} {} takes {} bytes, data_offsets give it {}", entry.dtype, to_string(entry.shape), elements * size_of(*entry.type),
                           entry.end - entry.begin));
  return entry;
}

void check_cover(const std::vector<SafetensorsEntry>& entries, std::size_t data_size, const Problem& fail) {
  std::size_t at = 0;
  for (const SafetensorsEntry& e : entries) {
    if (e.begin != at) {
      const char* how = e.begin < at ? "overlapping the tensor that ends" : "leaving a hole";
      fail(e.name, fmt::format("starts at byte {} of the data, {} at {}", e.begin, how, at));
    }
    if (e.end > data_size) fail(e.name, fmt::format("cut short: ends at byte {} of the data, but the file has only {}", e.end, data_size));
    at = e.end;
  }
  if (at != data_size) fail(fmt::format("{} bytes follow the last tensor", data_size - at));
}

}  // namespace

SafetensorsHeader parse_safetensors(std::string_view bytes, const std::string& file) {
  const Problem fail{file};
  const std::string_view text = header_text(bytes, fail);
  const json root = parse_header(text, fail);
  SafetensorsHeader header;
  header.data_begin = 8 + text.size();
  for (const auto& [name, value] : root.items()) {
    if (name == metadata_key) header.metadata = parse_metadata(value, fail);
    else header.entries.push_back(parse_entry(name, value, fail));
  }
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  check_cover(header.entries, bytes.size() - header.data_begin, fail);
  return header;
}

Safetensors::Safetensors(const std::filesystem::path& path)
    : path_(path), file_(map_file(path)), header_(parse_safetensors(file_.bytes(), path.string())) {
  for (std::size_t i = 0; i < header_.entries.size(); ++i) index_[header_.entries[i].name] = i;
}

Tensor Safetensors::load(const SafetensorsEntry& entry) const {
  const std::string place = fmt::format("{}: tensor {}", path_.string(), in_quotes(entry.name));
  if (!entry.why.empty()) throw UnreadError(place, entry.why);
  const std::size_t begin = header_.data_begin + entry.begin, end = header_.data_begin + entry.end;
  return read_elements(file_.part(begin, end), file_.data.get() + begin, entry.shape.numel(), *entry.type, place).reshape(entry.shape);
}

Tensor Safetensors::operator[](const std::string& name) const {
  const auto it = index_.find(name);
  if (it == index_.end()) throw FileError(fmt::format("{}: no tensor {} among its {} tensors", path_.string(), in_quotes(name), size()));
  return load(header_.entries[it->second]);
}

NamedTensors Safetensors::tensors() const {
  NamedTensors all;
  all.reserve(size());
  for (const SafetensorsEntry& e : header_.entries) all.emplace_back(e.name, load(e));
  return all;
}

NamedTensors Safetensors::tensors(std::vector<UnreadEntry>& unread) const {
  NamedTensors all;
  all.reserve(size());
  for (const SafetensorsEntry& e : header_.entries) {
    try {
      all.emplace_back(e.name, load(e));
    } catch (const UnreadError& error) {
      unread.push_back({e.name, error.why()});
    }
  }
  return all;
}

// ---- writing ----------------------------------------------------------------------------------------------------------------------

NamedTensors in_file_order(const NamedTensors& tensors, const std::string& file) {
  NamedTensors sorted = tensors;
  for (const auto& [name, t] : sorted) {
    if (!t.defined()) throw FileError(fmt::format("{}: tensor {} is undefined and cannot be written", file, in_quotes(name)));
    if (name == metadata_key) throw FileError(fmt::format("{}: a tensor cannot be named {}", file, metadata_key));
  }
  const auto key = [](const auto& named) { return std::pair(&type_written(named.second.dtype()), std::string_view(named.first)); };
  std::sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::unordered_set<std::string_view> seen;
  for (const auto& [name, t] : sorted)
    if (!seen.insert(name).second) throw FileError(fmt::format("{}: two tensors are named {}", file, in_quotes(name)));
  return sorted;
}

namespace {

std::string make_header(const NamedTensors& sorted, const Metadata& metadata, const std::string& file) {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  if (!metadata.empty()) root[metadata_key] = metadata;
  std::string text;
  try {
    // Entries are joined by hand: inserting into an ordered object searches it, which is quadratic in thousands of tensors.
    text = root.dump();
    text.pop_back();
    std::size_t at = 0;
    for (const auto& [name, t] : sorted) {
      nlohmann::ordered_json entry;
      entry["dtype"] = type_written(t.dtype()).name;
      entry["shape"] = std::vector<std::int64_t>(t.shape().begin(), t.shape().end());
      entry["data_offsets"] = {at, at + t.bytes()};
      at += t.bytes();
      text += (text.size() > 1 ? "," : "") + json(name).dump() + ":" + entry.dump();
    }
    text += '}';
  } catch (const json::exception&) {
    throw FileError(fmt::format("{}: a name or metadata string is not UTF-8", file));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > header_limit) throw FileError(fmt::format("{}: the header would have {} bytes, and the format allows {}: write fewer tensors, or shorter names or metadata", file, text.size(), header_limit));
  return text;
}

}  // namespace

std::uint32_t save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata,
                               const FetchTensor& fetch) {
  const NamedTensors sorted = in_file_order(tensors, path.string());
  const std::string header = make_header(sorted, metadata, path.string());
  AtomicFile out(path);
  std::uint32_t crc = 0;
  const auto write = [&](std::string_view bytes) {
    crc = crc32c(bytes, crc);
    out.write(bytes);
  };
  const std::uint64_t length = header.size();
  write({reinterpret_cast<const char*>(&length), sizeof length});
  write(header);
  for (const auto& [name, t] : sorted) {
    const Tensor rows = (fetch ? fetch(name, t) : t).contiguous().to(Device{});
    write({static_cast<const char*>(rows.raw()), rows.bytes()});
  }
  out.commit();
  return crc;
}

}  // namespace fm
