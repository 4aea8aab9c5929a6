// .npy and .npz: written and read back, NumPy's own files, damaged files.
#include "tensor/io/npy.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

struct TemporaryFile {
  TempFolder folder;
  fs::path path = folder / "a.npz";
};

// A .npy as NumPy writes it, with any header.
std::string npy(const std::string& header, const std::string& values, char version = 1) {
  std::string out = std::string("\x93NUMPY") + version + '\0' + char(header.size()) + '\0';
  if (version > 1) out += std::string(2, '\0');
  return out + header + values;
}

std::vector<float> ramp(std::size_t n) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), 0.5f);
  return v;
}

template <class T>
std::vector<T> list(const Tensor& a) {
  CHECK(a.dtype() == dtype_of<T>);
  return a.to_vector<T>();
}

Tensor parse(const std::string& bytes, const std::string& name = "x.npy") {
  const auto kept = std::make_shared<std::string>(bytes);
  return parse_npy({kept, reinterpret_cast<std::byte*>(kept->data())}, *kept, name);
}

std::string text(const Tensor& a) {
  const auto values = a.to_vector<std::uint8_t>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("arrays of every type, written whole or streamed, are read back") {
  TemporaryFile file;
  const std::vector<std::uint8_t> pixels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  {
    NpzWriter out(file.path);
    out.begin("arr_0", DType::u8, {2, 1, 3});
    out.append<std::uint8_t>(std::span(pixels).first(6));
    out.append<std::uint8_t>(std::span(pixels).last(6));
    CHECK_THROWS_AS(out.append<std::uint8_t>(std::span(pixels).first(5)), ShapeError);
    CHECK_THROWS_AS(out.append<float>(ramp(6)), DTypeError);
    out.end();
    out.add<float>("f32", {2, 3}, ramp(6));
    out.add<double>("f64", {1}, std::vector<double>{2.5});
    out.add<std::int64_t>("i64", {}, std::vector<std::int64_t>{-7});
    out.add<std::int32_t>("i32", {0, 4}, std::vector<std::int32_t>{});
    CHECK_THROWS_AS(out.add<float>("short", {7}, ramp(6)), ShapeError);
    CHECK_THROWS_AS(out.add<float>("f32", {6}, ramp(6)), FileError);
    CHECK(!fs::exists(file.path));
    out.finish();
  }
  const NpzReader in(file.path);
  CHECK(in.names() == std::vector<std::string>{"arr_0", "f32", "f64", "i64", "i32"});
  const Tensor a = in.read("arr_0");
  CHECK(a.shape() == Shape{2, 2, 1, 3});
  CHECK(list<std::uint8_t>(a) == pixels);
  CHECK(list<float>(in.read("f32")) == ramp(6));
  CHECK(in.read("f64").item() == 2.5);
  CHECK(in.read("i64").rank() == 0);
  CHECK(in.read("i64").item() == -7);
  CHECK(in.read("i32").shape() == Shape{0, 4});
  CHECK_THROWS_WITH_AS(in.read("mu"), doctest::Contains("no array \"mu\"; it has arr_0, f32, f64, i64, i32"), FileError);
  CHECK(std::distance(fs::directory_iterator(file.path.parent_path()), {}) == 1);  // no temporary file is left
}

// NumPy decodes a name without the flag as code page 437. The flag is in byte 6 of a local and byte 8 of a central header.
TEST_CASE("member names with non-ASCII characters are marked as UTF-8; invalid names are refused") {
  TemporaryFile file;
  const std::string model = "\u6a21\u578b";
  {
    NpzWriter out(file.path);
    out.add<float>("plain", {6}, ramp(6));
    out.add<float>(model, {6}, ramp(6));
    CHECK_THROWS_WITH_AS(out.add<float>("\xff", {6}, ramp(6)), doctest::Contains("cannot be named \"\\xff.npy\": use UTF-8"), FileError);
    CHECK_THROWS_WITH_AS(out.add<float>(std::string("a\0b", 3), {6}, ramp(6)), doctest::Contains("without zero bytes"), FileError);
    CHECK_THROWS_WITH_AS(out.add<float>(std::string(65536, 'a'), {6}, ramp(6)), doctest::Contains("a member's name has 65540 bytes"), FileError);
    out.finish();
  }
  CHECK(NpzReader(file.path).names() == std::vector<std::string>{"plain", model});
  const std::string bytes = read_file(file.path);
  const auto flags = [&](const std::string& name) {
    const std::size_t local = bytes.find(name + ".npy") - 30, central = bytes.rfind(name + ".npy") - 46;
    CHECK(bytes.substr(local, 4) == "PK\3\4");
    CHECK(bytes.substr(central, 4) == "PK\1\2");
    const auto a = zip_records::get<std::uint16_t>(bytes, local + 6), b = zip_records::get<std::uint16_t>(bytes, central + 8);
    CHECK(a == b);
    return a;
  };
  CHECK(flags("plain") == 0);
  CHECK(flags(model) == 1 << 11);
}

TEST_CASE("a checksum of 0 means no checksum; any other wrong checksum is an error") {
  const std::string content = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", "abc");
  TemporaryFile file;
  for (const bool packed : {false, true}) {
    write_bytes(file.path, zip_of({{"x.npy", content, packed}}, [](std::vector<Entry>& entries) { entries[0].crc = 0; }));
    CHECK(text(NpzReader(file.path).read("x")) == "abc");
    write_bytes(file.path, zip_of({{"x.npy", content, packed}}, [](std::vector<Entry>& entries) { entries[0].crc ^= 1; }));
    CHECK_THROWS_WITH_AS(NpzReader(file.path).read("x"), doctest::Contains("checksum of member \"x.npy\" is wrong"), FileError);
  }
}

TEST_CASE("an archive that is not finished leaves no file behind") {
  TemporaryFile file;
  { NpzWriter(file.path).add<float>("x", {6}, ramp(6)); }
  CHECK(fs::is_empty(file.path.parent_path()));
}

TEST_CASE("single .npy files, and all forms of NumPy's header") {
  TemporaryFile file;
  write_npy<float>(file.path, {3, 2}, ramp(6));
  CHECK(list<float>(read_npy(file.path)) == ramp(6));
  CHECK(read_file(file.path).size() == 128 + 24);
  CHECK(npy_header(DType::f32, {5}).find("'shape': (5,), }") != std::string::npos);
  CHECK(parse(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }      \n", std::string("\1\0", 2))).numel() == 2);
  CHECK(parse(npy("{'descr':'|u1','fortran_order':False,'shape':()}", "a", 2)).rank() == 0);
  CHECK(text(parse(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", "adbecf"))) == "abcdef");
  CHECK(text(parse(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 1, 2), }", "abcd"))) == "acbd");
  const Tensor halves = parse(npy("{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", std::string("\0\x3e\0\xc0", 4)));
  CHECK(list<float>(halves) == std::vector<float>{1.5f, -2});
  CHECK(parse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", "")).numel() == 0);
}

TEST_CASE("each invalid .npy file gives an error with its name and the reason") {
  const auto error = [](const std::string& bytes) -> std::string {
    try {
      parse(bytes);
    } catch (const FileError& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(error("hello") == "x.npy: not a NumPy array file");
  CHECK(error(npy("{'descr': '|S4', 'fortran_order': False, 'shape': (1,), }", "abcd")) ==
        "x.npy: elements of type \"|S4\" cannot be read: convert them with astype to <f2, <f4, <f8, integers of 1 to 8 bytes or |b1");
  // Control characters of a header are escaped in the message.
  CHECK(error(npy("{'descr':\n'\x1b[2J\xff', 'x", "")) == "x.npy: not a plain NumPy array: header '{'descr':\\n'\\x1b[2J\\xff', 'x'");
  CHECK(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "abcd")) ==
        "x.npy: it has 4 bytes of values, but the shape (2) of f32 needs more: is the file cut off?");
  CHECK(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "abcdefg")) ==
        "x.npy: 3 bytes follow the array: only one array in a .npy can be read, so save several with numpy.savez");
  CHECK(error(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "a")) ==
        "x.npy: it has 9 dimensions, at most 8 are supported: reshape it");
  CHECK(error(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (0, 4294967296, 4294967296), }", "")) != "no error");
  for (const char* header :
       {"", "{", "{'descr': [('a', '<f4'), 'fortran_order': False, 'shape': (1,), }", "{'descr': ['", "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }"}) {
    CHECK(error(npy(header, "abcd")).find("not a plain NumPy array") != std::string::npos);
  }
  CHECK(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "")) != "no error");
  const std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "abcd");
  for (std::size_t n = 0; n < good.size(); ++n) CHECK(error(good.substr(0, n)) != "no error");
  CHECK_THROWS_AS(npy_header(DType::bf16, {1}), DTypeError);
}

TEST_CASE("a deflated member with 32-bit records, as numpy.savez_compressed writes it; wrong sizes are errors") {
  const std::string content = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000,), }", std::string(1000, 'x'));
  const auto archive = [&](std::uint32_t size) {
    return zip_of({{"x.npy", content, true}}, [&](std::vector<Entry>& entries) { entries[0].size = size; });
  };
  TemporaryFile file;
  write_bytes(file.path, archive(std::uint32_t(content.size())));
  CHECK(text(NpzReader(file.path).read("x")) == std::string(1000, 'x'));
  for (std::uint32_t wrong : {0u, std::uint32_t(content.size() - 1), std::uint32_t(content.size() + 1), 0x7fffffffu}) {
    write_bytes(file.path, archive(wrong));
    CHECK_THROWS_AS(NpzReader(file.path).read("x"), FileError);
  }
}

TEST_CASE("a reference batch of ADM's evaluator, stored and deflated") {
  TemporaryFile file;
  const auto doubles = [](std::initializer_list<double> v) { return std::string(reinterpret_cast<const char*>(v.begin()), 8 * v.size()); };
  for (const bool packed : {false, true}) {
    write_bytes(file.path,
                zip_of({{"mu.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", doubles({1, 2})), packed},
                        {"sigma.npy", npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 2), }", doubles({1, 2, 3, 4})), packed},
                        {"arr_0.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2, 3), }", "abcdef"), packed}}));
    const NpzReader batch(file.path);
    CHECK(list<double>(batch.read("mu")) == std::vector<double>{1, 2});
    CHECK(list<double>(batch.read("sigma")) == std::vector<double>{1, 3, 2, 4});
    CHECK(batch.read("arr_0").shape() == Shape{1, 1, 2, 3});
    CHECK(!batch.has("mu_s"));
  }
}

TEST_CASE("a zip bomb and an archive whose members overlap are refused") {
  TemporaryFile file;
  const std::size_t size = 80 << 20;
  const std::string zeros =
      npy("{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(size) + ",), }", std::string(size, '\0'));
  write_bytes(file.path, zip_of({{"x.npy", zeros, true}}));
  CHECK_THROWS_WITH_AS(NpzReader(file.path).read("x"), doctest::Contains("which may be a zip bomb: store it (numpy.savez"), FileError);
  const std::string one = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", "a");
  write_bytes(file.path,
              zip_of({{"x.npy", one}, {"y.npy", one}}, [](std::vector<Entry>& entries) { entries[1].header = entries[0].header; }));
  CHECK_THROWS_WITH_AS(NpzReader{file.path}, doctest::Contains("members \"x.npy\" and \"y.npy\" overlap"), FileError);
}

TEST_CASE("a truncated or changed archive is an error or gives the same array") {
  TemporaryFile file;
  {
    NpzWriter out(file.path);
    out.add<float>("x", {6}, ramp(6));
    out.finish();
  }
  const std::string good = read_file(file.path);
  const auto read = [&] { return list<float>(NpzReader(file.path).read("x")); };
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const std::string& bad : {good.substr(0, i), good.substr(0, i) + char(good[i] ^ 0x41) + good.substr(i + 1)}) {
      write_bytes(file.path, bad);
      std::vector<float> got = ramp(6);
      try {
        got = read();
      } catch (const FileError&) {
      }
      CHECK(got == ramp(6));  // no error: an unused field (dates, modes, the local header's copy)
    }
  }
  write_bytes(file.path, "");
  CHECK_THROWS_AS(read(), FileError);
  CHECK_THROWS_AS(NpzReader("nowhere.npz"), FileError);
}
