// .npy and .npz: written and read back, NumPy's own files, damaged files.
#include "data/npy.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/zip_records.h"
#include "tests/support/temp_folder.h"

using namespace fm;
namespace fs = std::filesystem;

namespace {

struct TemporaryFile {
  TempFolder folder;
  fs::path path = folder / "a.npz";
};

void write_bytes(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

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
std::vector<T> list(const NpyArray& a) {
  return {a.values<T>().begin(), a.values<T>().end()};
}

}  // namespace

TEST_CASE("arrays of every type come back, whole and streamed") {
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
  const NpyArray a = in.read("arr_0");
  CHECK(a.shape == std::vector<std::int64_t>{2, 2, 1, 3});
  CHECK(list<std::uint8_t>(a) == pixels);
  CHECK(list<float>(in.read("f32")) == ramp(6));
  CHECK(in.read("f64").values<double>()[0] == 2.5);
  CHECK(in.read("i64").shape.empty());
  CHECK(in.read("i64").values<std::int64_t>()[0] == -7);
  CHECK(in.read("i32").shape == std::vector<std::int64_t>{0, 4});
  CHECK_THROWS_AS(in.read("f32").values<double>(), DTypeError);
  CHECK_THROWS_WITH_AS(in.read("mu"), doctest::Contains("no array 'mu'; it has arr_0, f32, f64, i64, i32"), FileError);
  CHECK(std::distance(fs::directory_iterator(file.path.parent_path()), {}) == 1);  // no temporary file is left
}

TEST_CASE("an archive that is not finished leaves nothing") {
  TemporaryFile file;
  { NpzWriter(file.path).add<float>("x", {6}, ramp(6)); }
  CHECK(fs::is_empty(file.path.parent_path()));
}

TEST_CASE("npy files alone; NumPy's header forms") {
  TemporaryFile file;
  write_npy<float>(file.path, {3, 2}, ramp(6));
  CHECK(list<float>(read_npy(file.path)) == ramp(6));
  CHECK(read_file(file.path).size() == 128 + 24);
  CHECK(npy_header(DType::f32, {5}).find("'shape': (5,), }") != std::string::npos);
  CHECK(parse_npy(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }      \n", std::string("\1\0", 2)), "x").count() == 2);
  CHECK(parse_npy(npy("{'descr':'|u1','fortran_order':False,'shape':()}", "a", 2), "x").shape.empty());
  const NpyArray turned = parse_npy(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", "adbecf"), "x");
  CHECK(turned.bytes == "abcdef");
  const NpyArray cube = parse_npy(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 1, 2), }", "abcd"), "x");
  CHECK(cube.bytes == "acbd");
}

TEST_CASE("wrong npy files are named") {
  const auto error = [](const std::string& bytes) -> std::string {
    try {
      parse_npy(bytes, "x.npy");
    } catch (const FileError& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(error("hello") == "x.npy: not a NumPy array file");
  CHECK(error(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "abcd")) ==
        "x.npy: type '>f4'; <f4, <f8, <i4, <i8, |u1 and |b1 can be read");
  CHECK(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "abcd")) ==
        "x.npy: 4 bytes of values where the shape (2) of <f4 needs another number");
  for (const char* header :
       {"", "{", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }"}) {
    CHECK(error(npy(header, "abcd")).find("not a plain NumPy array") != std::string::npos);
  }
  CHECK(error(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "")) != "no error");
  const std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "abcd");
  for (std::size_t n = 0; n < good.size(); ++n) CHECK(error(good.substr(0, n)) != "no error");
  CHECK_THROWS_AS(npy_header(DType::bf16, {1}), DTypeError);
}

TEST_CASE("a deflated member, as numpy.savez_compressed writes, with 32-bit records") {
  const std::string content = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000,), }", std::string(1000, 'x'));
  std::string packed(compressBound(content.size()), '\0');
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data())), z.avail_in = uInt(content.size());
  z.next_out = reinterpret_cast<Bytef*>(packed.data()), z.avail_out = uInt(packed.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  packed.resize(z.total_out);
  deflateEnd(&z);
  const auto crc = std::uint32_t(crc32(0, reinterpret_cast<const Bytef*>(content.data()), uInt(content.size())));
  const auto archive = [&](std::uint32_t size) {
    using namespace zip_records;
    const auto common = [&](std::string& out) {
      put(out, std::uint16_t(20)), put(out, std::uint16_t(0)), put(out, std::uint16_t(8)), put(out, std::uint32_t(0));
      put(out, crc), put(out, std::uint32_t(packed.size())), put(out, size), put(out, std::uint16_t(5)), put(out, std::uint16_t(0));
    };
    std::string out;
    put(out, local_signature), common(out);
    out += "x.npy" + packed;
    const auto start = std::uint32_t(out.size());
    put(out, central_signature), put(out, std::uint16_t(20)), common(out);
    out += std::string(14, '\0') + "x.npy";
    const auto length = std::uint32_t(out.size()) - start;
    put(out, end_signature), put(out, std::uint32_t(0)), put(out, std::uint16_t(1)), put(out, std::uint16_t(1)), put(out, length),
        put(out, start);
    return out + std::string("\4\0note", 6);
  };
  TemporaryFile file;
  write_bytes(file.path, archive(std::uint32_t(content.size())));
  CHECK(NpzReader(file.path).read("x").bytes == std::string(1000, 'x'));
  for (std::uint32_t wrong : {0u, std::uint32_t(content.size() - 1), std::uint32_t(content.size() + 1), 0x7fffffffu}) {
    write_bytes(file.path, archive(wrong));
    CHECK_THROWS_AS(NpzReader(file.path).read("x"), FileError);
  }
}

TEST_CASE("any cut or flipped byte of an archive is an error or changes nothing") {
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
      CHECK(got == ramp(6));  // no error: a field that nobody reads (dates, modes, the local header's copy)
    }
  }
  write_bytes(file.path, "");
  CHECK_THROWS_AS(read(), FileError);
  CHECK_THROWS_AS(NpzReader("nowhere.npz"), FileError);
}
