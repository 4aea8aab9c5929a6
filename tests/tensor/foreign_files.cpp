// Files as other programs write them, of every element type that they have (tests/golden/make_foreign_files.py): all that can be read is read,
// number for number as those programs do, and what cannot be is named for itself alone.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/weights_file.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const fs::path golden = fs::path(FM_TESTS_FOLDER) / "golden/foreign";

// In row-major order; every NaN of f32 with the same bits.
std::string hex_of(const Tensor& t) {
  const Tensor rows = t.clone();
  if (rows.dtype() == DType::f32)
    for (std::int64_t i = 0; i < rows.numel(); ++i)
      if (float& x = rows.data<float>()[i]; std::isnan(x)) x = std::nanf("");
  std::string out;
  for (std::size_t i = 0; i < rows.bytes(); ++i) {
    const auto b = static_cast<const unsigned char*>(rows.raw())[i];
    out += "0123456789abcdef"[b >> 4], out += "0123456789abcdef"[b & 15];
  }
  return out.empty() ? "-" : out;
}

std::string shape_of(const Tensor& t) {
  std::string out;
  for (const std::int64_t d : t.shape()) out += (out.empty() ? "" : ",") + std::to_string(d);
  return out.empty() ? "-" : out;
}

// The rest of each line of expected.txt by file and the entry's name.
std::map<std::string, std::map<std::string, std::string>> expected() {
  std::istringstream lines(read_file(golden / "expected.txt"));
  std::map<std::string, std::map<std::string, std::string>> out;
  std::string line, file, name;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    words >> file >> name;
    std::getline(words >> std::ws, out[file][name]);
  }
  return out;
}

std::map<std::string, std::string> read(const std::string& file, std::vector<UnreadEntry>& unread) {
  std::map<std::string, std::string> out;
  const FileTensors read = read_tensors(golden / file);
  for (const auto& [name, t] : read.tensors) out[name] = std::string(name_of(t.dtype())) + " " + shape_of(t) + " " + hex_of(t);
  for (const UnreadEntry& entry : read.unread) out[entry.name] = "unread";
  unread = read.unread;
  return out;
}

}  // namespace

TEST_CASE("files of other programs are read number for number, and what cannot be read alone is not") {
  const auto wanted = expected();
  CHECK(wanted.size() >= 8);
  for (const auto& [file, entries] : wanted) {
    CAPTURE(file);
    std::vector<UnreadEntry> unread;
    const auto got = read(file, unread);
    CHECK(got.size() == entries.size());
    for (const auto& [name, entry] : entries) {
      CAPTURE(name);
      REQUIRE(got.contains(name));
      CHECK(got.at(name) == entry);
    }
  }
}

TEST_CASE("why an entry cannot be read: its type and a remedy") {
  const auto why = [](const std::string& file, const std::string& name) -> std::string {
    std::vector<UnreadEntry> unread;
    read(file, unread);
    for (const UnreadEntry& entry : unread)
      if (entry.name == name) return entry.why;
    return "it is read";
  };
  CHECK(why("types.safetensors", "complex") == "elements of complex64 cannot be read: save its real and its imaginary part as two tensors");
  CHECK(why("types.safetensors", "beyond.uint64") == "9223372036854775808 is beyond i64, which u64 is read as: save it as f64 or in two parts");
  CHECK(why("types.safetensors", "nine") == "9 dimensions, at most 8 are supported: reshape it before saving");
  for (const char* file : {"stored.npz", "deflated.npz"}) {
    CHECK(has(why(file, "complex"), "elements of complex128 cannot be read"));
    CHECK(has(why(file, "text"), "type \"<U4\""));
    CHECK(has(why(file, "date"), "type \"<M8[D]\""));
    CHECK(has(why(file, "objects"), "an array of Python objects: nothing from a file is run here"));
    CHECK(has(why(file, "structured"), "a structured array, \"[('a', '<i4'), ('b]', '<f8')]\": save each of its fields"));
    CHECK(has(why(file, "long"), "elements of f128 (long double) cannot be read"));
    CHECK(has(why(file, "beyond"), "9223372036854775808 is beyond i64"));
    CHECK(has(why(file, "nine"), "9 dimensions, at most 8"));
  }
  CHECK(why("mixed.npz", "no_array") == "not a NumPy array file");
}
