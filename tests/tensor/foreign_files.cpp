// Files written by other programs, of every element type that they have (tests/golden/make_foreign_files.py): all readable entries
// have the numbers that those programs read. An unreadable entry is an error only if it is requested.
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

// Returns the bytes of the elements in row-major order, with the same bits for every NaN of f32.
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

// Returns expected.txt as [file][name of an entry] -> the rest of the line.
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

TEST_CASE("files of other programs are read exactly; an unreadable entry does not prevent reading the others") {
  const auto wanted = expected();
  CHECK(wanted.size() >= 8);
  for (const auto& of_file : wanted) {               // no structured bindings: clang 14 cannot capture them
    const auto& file = of_file.first;
    const auto& entries = of_file.second;
    CAPTURE(file);
    std::vector<UnreadEntry> unread;
    const auto got = read(file, unread);
    CHECK(got.size() == entries.size());
    for (const auto& named : entries) {
      const auto& name = named.first;
      const auto& entry = named.second;
      CAPTURE(name);
      REQUIRE(got.contains(name));
      CHECK(got.at(name) == entry);
    }
  }
}

// The other entries of these checkpoints are objects of all kinds, one of which refers to itself. They are not built and do not disturb reading.
TEST_CASE("objects beside the weights are not built; only a request for such an object is an error") {
  for (const char* file : {"training-zip-2.pt", "training-zip-3.pt", "training-zip-5.pt", "training-legacy-2.pt", "training-legacy-4.pt"}) {
    CAPTURE(file);
    const fs::path path = golden / file;
    const FileTensors averaged = read_tensors(path), model = read_tensors(path, "model");
    CHECK(averaged.tensors.size() == 7);
    CHECK(averaged.unread.empty());
    CHECK(averaged.tensors[0].second.to_vector<float>()[0] == model.tensors[0].second.to_vector<float>()[0] / 2);
    const FileTensors moments = read_tensors(path, "opt/state/0");
    REQUIRE(moments.tensors.size() == 3);
    CHECK(moments.tensors[1].first == "exp_avg");
    CHECK(moments.tensors[1].second.shape() == model.tensors[0].second.shape());
    CHECK(read_tensors(path, "opt/state/0/exp_avg").tensors.at(0).first == "exp_avg");
    const auto error = [&](const std::string& entry) {
      try {
        read_tensors(path, entry);
      } catch (const FileError& e) {
        return std::string(e.what()).substr(path.string().size() + 2);
      }
      return std::string("it is read");
    };
    CHECK(error("args") ==
          "it holds an object of argparse.Namespace, which is not built, since nothing from a file is run here: save tensors alone, as "
          "torch.save(model.state_dict(), file) does");
    CHECK(error("args/lr") == "no entry \"lr\" in an object of argparse.Namespace");
    CHECK(has(error("loop"), "an object of __main__.Node"));
    CHECK(has(error("settings"), "an object of __main__.Settings"));
    CHECK(has(error("class"), "it holds a class or function torch.nn.modules.linear.Linear"));
    CHECK(has(error("storage"), "it holds a storage"));
    CHECK(has(error("opt/param_groups"), "no dict of tensors in it; choose one of its entries as " + path.string() + ":ENTRY: 0 (dict of "));
    CHECK(has(error("opt"), "\"state\" (dict of 4), \"param_groups\" (list)"));
    CHECK(has(error("default"), "no dict of tensors in it"));
    CHECK(has(error("tuple key"), "choose one of its entries as " + path.string() + ":ENTRY: a tuple (int)"));
    CHECK(has(error("opt/state/9"), "no entry \"9\"; there are 0 (dict of 3), 1 (dict of 3)"));
  }
}

TEST_CASE("the error for an unreadable entry states its type and a remedy") {
  const auto why = [](const std::string& file, const std::string& name) -> std::string {
    std::vector<UnreadEntry> unread;
    read(file, unread);
    for (const UnreadEntry& entry : unread)
      if (entry.name == name) return entry.why;
    return "it is read";
  };
  CHECK(why("types.safetensors", "complex") == "elements of complex64 cannot be read: save its real and its imaginary part as two tensors");
  CHECK(why("types.safetensors", "beyond.uint64") ==
        "9223372036854775808 does not fit into i64, the type that u64 is read as: save the array as f64 or in two parts");
  CHECK(why("types.safetensors", "nine") == "it has 9 dimensions, at most 8 are supported: reshape it before saving");
  for (const char* file : {"stored.npz", "deflated.npz"}) {
    CHECK(has(why(file, "complex"), "elements of complex128 cannot be read"));
    CHECK(has(why(file, "text"), "type \"<U4\""));
    CHECK(has(why(file, "date"), "type \"<M8[D]\""));
    CHECK(has(why(file, "objects"), "an array of Python objects: nothing from a file is run here"));
    CHECK(has(why(file, "structured"), "a structured array, \"[('a', '<i4'), ('b]', '<f8')]\": save each of its fields"));
    CHECK(has(why(file, "long"), "elements of f128 (long double) cannot be read"));
    CHECK(has(why(file, "beyond"), "9223372036854775808 does not fit into i64"));
    CHECK(has(why(file, "nine"), "9 dimensions, at most 8"));
  }
  CHECK(why("mixed.npz", "no_array") == "not a NumPy array file");
  for (const char* file : {"unreadable-zip.pt", "unreadable-legacy.pt"}) {
    CHECK(has(why(file, "complex"), "elements of complex64 cannot be read: save its real"));
    CHECK(has(why(file, "double_complex"), "elements of complex128"));
    CHECK(has(why(file, "parameter"), "elements of complex64"));
    CHECK(has(why(file, "negated"), "a view with its values conjugated or negated: save its .resolve_conj().resolve_neg()"));
    CHECK(why(file, "sparse") == "a sparse tensor: save its .to_dense()");
    CHECK(why(file, "csr") == "a sparse tensor: save its .to_dense()");
    CHECK(has(why(file, "jagged"), "a nested tensor"));
    CHECK(has(why(file, "meta"), "a tensor on the meta device, which has no values"));
    CHECK(has(why(file, "nine"), "9 dimensions, at most 8"));
    CHECK(has(why(file, "repeated"),
              "a tensor of shape [2097152] and strides [0] from element 0 repeats the 1 values of its storage too often"));
    CHECK(has(why(file, "beyond"), "9223372036854775808 does not fit into i64"));
    CHECK(why(file, "args") == "an object of argparse.Namespace, which is not built, since nothing from a file is run here");
  }
  CHECK(why("unreadable-zip.pt", "quantized") == "a quantized tensor: save its .dequantize()");
  CHECK(why("unreadable-zip.pt", "channels") == "a quantized tensor: save its .dequantize()");
}
