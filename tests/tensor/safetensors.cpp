// safetensors: bytes of the published format, every element type written and read back, and damaged files, each refused with one clear line.
#include "tensor/io/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

std::string file_of(const std::string& header, const std::string& data = {}) {
  std::string bytes(8, '\0');
  const std::uint64_t n = header.size();
  std::memcpy(bytes.data(), &n, 8);
  return bytes + header + data;
}

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const FileError& e) {
    return e.what();
  }
  return "no FileError";
}

std::string refusal(const std::string& bytes) { return message([&] { parse_safetensors(bytes, "a/b.safetensors"); }); }

bool same(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  return a.bytes() == 0 || std::memcmp(a.contiguous().raw(), b.contiguous().raw(), a.bytes()) == 0;
}

}  // namespace

TEST_CASE("every type, and scalar, empty and strided tensors, are written and read back bit for bit") {
  const TempFolder folder;
  NamedTensors in;
  for (DType d : {DType::u8, DType::i32, DType::bf16, DType::f32, DType::f64, DType::i64}) {
    in.emplace_back(std::string("z.") + name_of(d), Tensor::arange(15, d).reshape({3, 5}));
    in.emplace_back(std::string("scalar.") + name_of(d), Tensor::scalar(3, d));
    in.emplace_back(std::string("empty.") + name_of(d), Tensor::empty({2, 0, 3}, d));
  }
  in.emplace_back("transposed", Tensor::arange(6).reshape({2, 3}).transpose(0, 1));
  in.emplace_back("gr\u00fc\u00df \"quoted\"\n", Tensor::arange(3));
  const auto path = folder / "all.safetensors";
  const std::uint32_t crc = save_safetensors(path, in, {{"format", "pt"}, {"step", "12"}});
  CHECK(crc == crc32c(read_file(path)));

  NamedTensors out;
  {
    const Safetensors file(path);
    CHECK(file.size() == in.size());
    CHECK(file.metadata() == Metadata{{"format", "pt"}, {"step", "12"}});
    CHECK(file.has("transposed"));
    CHECK_FALSE(file.has("absent"));
    CHECK(message([&] { file["absent"]; }).find("no tensor \"absent\"") != std::string::npos);
    for (const auto& [name, t] : in) CHECK(same(file[name], t));
    out = file.tensors();
    CHECK(out.back().second.raw() == file["z.u8"].raw());      // both are the mapping itself
  }
  // The views outlive the object and are ordered by falling alignment, then name.
  CHECK(out.front().first == "empty.i64");
  CHECK(out.back().first == "z.u8");
  for (std::size_t i = 1; i < out.size(); ++i) CHECK(size_of(out[i - 1].second.dtype()) >= size_of(out[i].second.dtype()));
  for (const auto& [name, t] : out)
    if (name == "transposed") CHECK(t.to_vector<float>() == std::vector<float>{0, 3, 1, 4, 2, 5});

  // Writing the tensors of a file over that file gives the same bytes.
  const std::string before = read_file(path);
  CHECK(save_safetensors(path, out, {{"step", "12"}, {"format", "pt"}}) == crc);
  CHECK(read_file(path) == before);
}

TEST_CASE("the written bytes equal those of the official safetensors writer") {
  const TempFolder folder;
  const Tensor a = Tensor::from<float>({-1}, {}), b = Tensor::from<float>({1, 2}, {2}), c = Tensor::from<std::uint8_t>({7}, {1, 1});
  save_safetensors(folder / "x", {{"b", b}, {"a", a}, {"c", c}}, {{"format", "pt"}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"c":{"dtype":"U8","shape":[1,1],"data_offsets":[12,13]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const float values[] = {-1, 1, 2};
  CHECK(read_file(folder / "x") == file_of(header, std::string(reinterpret_cast<const char*>(values), 12) + "\x07"));
  save_safetensors(folder / "none", {});
  CHECK(read_file(folder / "none") == file_of("{}      "));
  CHECK(Safetensors(folder / "none").size() == 0);
}

TEST_CASE("F16 is read as f32 and BOOL as u8; unaligned data are copied") {
  const TempFolder folder;
  // 1, -2, 65504, 2^-24, -0, inf, 2^-14, nan as halves
  const std::uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00, 0x0400, 0x7e00};
  const std::string data = std::string("\1\0\1", 3) + std::string(reinterpret_cast<const char*>(halves), 16) +
                           std::string("\0\0\x80\x3f", 4);
  const std::string header = R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},)"
                             R"("h":{"dtype":"F16","shape":[8],"data_offsets":[3,19]},)"
                             R"("f":{"shape":[1],"dtype":"F32","data_offsets":[19,23],"more":null}}  )";
  write_atomically(folder / "h", file_of(header, data));
  const Safetensors file(folder / "h");
  CHECK(file["b"].to_vector<std::uint8_t>() == std::vector<std::uint8_t>{1, 0, 1});
  CHECK(file["f"].item() == 1.0);
  const std::vector<float> h = file["h"].to_vector<float>();
  CHECK(std::vector<float>(h.begin(), h.begin() + 7) == std::vector<float>{1, -2, 65504, 0x1p-24f, 0, INFINITY, 0x1p-14f});
  CHECK(std::signbit(h[4]));
  CHECK(std::isnan(h[7]));
}

TEST_CASE("a tensor that cannot be read does not prevent reading the others") {
  const TempFolder folder;
  const auto path = folder / "mixed.safetensors";
  write_atomically(path, file_of(R"({"f4":{"dtype":"F4","shape":[4],"data_offsets":[4,6]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                 R"("nine":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[6,7]}})",
                                 std::string("\0\0\x80\x3f", 4) + "abc"));
  const Safetensors file(path);
  CHECK(file.size() == 3);
  CHECK(file["a"].item() == 1);
  const std::string start = path.string() + ": tensor ";
  CHECK(message([&] { file["f4"]; }) == start + "\"f4\": elements of type \"F4\" cannot be read: convert it to f32 or bf16 before saving, as "
                                                "t.to(torch.bfloat16) does");
  CHECK(message([&] { file["nine"]; }) == start + "\"nine\": it has 9 dimensions, at most 8 are supported: reshape it before saving");
  CHECK(message([&] { file.tensors(); }).find("\"f4\"") != std::string::npos);
  std::vector<UnreadEntry> unread;
  CHECK(file.tensors(unread).size() == 1);
  REQUIRE(unread.size() == 2);
  CHECK(unread[0].name == "f4");
  CHECK(unread[1].name == "nine");
}

TEST_CASE("writing to a tensor that was read from a file does not change the file") {
  const TempFolder folder;
  save_safetensors(folder / "x", {{"a", Tensor::arange(4)}});
  Safetensors(folder / "x")["a"].fill(9);
  CHECK(Safetensors(folder / "x")["a"].to_vector<float>() == std::vector<float>{0, 1, 2, 3});
}

TEST_CASE("each damaged safetensors file gives one clear line as its error") {
  const auto entry = [](const std::string& e, const std::string& data = "1234") { return file_of("{" + e + "}", data); };
  const std::string good = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  REQUIRE(refusal(entry(good)) == "no FileError");
  CHECK(refusal(entry(R"("__metadata__":null,)" + good)) == "no FileError");
  std::string huge(16, '\xff'), long_header = entry(good);
  long_header[1] = 1;
  const struct { std::string bytes, expected; } damaged[] = {
      {"", "0 bytes"},
      {"1234567", "7 bytes"},
      {huge, "another kind of file"},
      {long_header, "cut short: its header takes"},
      {file_of(""), "does not start with '{'"},
      {file_of("[1]"), "does not start with '{'"},
      {file_of("{\"a\":"), "not JSON"},
      {file_of("{} x"), "not JSON"},
      {file_of("{\"\xff\xfe\":1}"), "not JSON"},
      {file_of("{\"a\":[[[[[[1]]]]]]}"), "nested too deeply"},
      {entry(good + "," + good), "the key \"a\" occurs twice"},
      {entry(R"("a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "the key \"dtype\" occurs twice"},
      {entry(R"("__metadata__":{"k":1},)" + good), "__metadata__ \"k\" is not a string"},
      {entry(R"("__metadata__":"k",)" + good), "__metadata__ is not an object"},
      {entry(R"("a":3)"), "not an object"},
      {entry(R"("a":{"shape":[1],"data_offsets":[0,4]})"), "dtype is missing"},
      {entry(R"("a":{"dtype":4,"shape":[1],"data_offsets":[0,4]})"), "dtype is not a string"},
      {entry(R"("a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,4]})"), "F8_E4M3 [3] takes 3 bytes, data_offsets give it 4"},
      {entry(R"("a":{"dtype":"C64","shape":[1],"data_offsets":[0,4]})"), "C64 [1] takes 8 bytes"},
      {entry(R"("a":{"dtype":"F4","shape":[8],"data_offsets":[0,5]})"), "cut short: ends at byte 5"},
      {entry(R"("a":{"dtype":"F32","data_offsets":[0,4]})"), "shape is missing"},
      {entry(R"("a":{"dtype":"F32","shape":1,"data_offsets":[0,4]})"), "shape is not an array"},
      {entry(R"("a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), "whole number"},
      {entry(R"("a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), "whole number"},
      {entry(R"("a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,4]})"), "takes 8 bytes"},
      {entry(R"("a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"), "impossibly large"},
      {entry(R"("a":{"dtype":"U8","shape":[0,18446744073709551615,2],"data_offsets":[0,0]})", ""), "impossibly large"},
      {entry(R"("a":{"dtype":"F32","shape":[1]})"), "data_offsets is missing"},
      {entry(R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0]})"), "1 numbers instead of 2"},
      {entry(R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), "run backwards"},
      {entry(R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), "F32 [2] takes 8 bytes, data_offsets give it 4"},
      {entry(good, "123"), "cut short: ends at byte 4 of the data, but the file has only 3"},
      {entry(good, "12345"), "1 bytes follow the last tensor"},
      {entry(R"("a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]})", "12345"), "leaving a hole"},
      {entry(good + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]})", "123456"), "\"b\": starts at byte 2 of the data, over"},
      {entry(good + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]})", "123456789012"), "leaving a hole at 4"},
  };
  for (const auto& d : damaged) {
    const std::string got = refusal(d.bytes);
    CAPTURE(got);
    CHECK(got.find(d.expected) != std::string::npos);
    CHECK(got.starts_with("a/b.safetensors: not a valid safetensors file"));
    CHECK(got.find('\n') == std::string::npos);
  }
}

TEST_CASE("a truncated safetensors file is refused; one with a flipped header bit is refused or read, without a crash") {
  const TempFolder folder;
  save_safetensors(folder / "x", {{"a", Tensor::arange(4)}, {"b", Tensor::arange(3, DType::bf16)}}, {{"k", "v"}});
  const std::string bytes = read_file(folder / "x");
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(refusal(bytes.substr(0, n)) != "no FileError");
  for (std::size_t i = 0; i < 8 * (bytes.size() - 22); ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << i % 8));
    refusal(flipped);                  // any other exception fails the test
  }
}

TEST_CASE("the error for a file that cannot be read or written states the reason") {
  const TempFolder folder;
  CHECK(message([&] { Safetensors(folder / "absent"); }).find("No such file") != std::string::npos);
  CHECK(message([&] { Safetensors(folder.path()); }).find("directory") != std::string::npos);
  write_atomically(folder / "empty", "");
  CHECK(message([&] { Safetensors(folder / "empty"); }).find("0 bytes") != std::string::npos);
  const Tensor t = Tensor::arange(2);
  CHECK(message([&] { save_safetensors(folder / "no" / "x", {{"a", t}}); }).find("cannot write") != std::string::npos);
  CHECK(message([&] { save_safetensors(folder / "x", {{"a", t}, {"a", t}}); }).find("two tensors are named") != std::string::npos);
  CHECK(message([&] { save_safetensors(folder / "x", {{"a", Tensor()}}); }).find("undefined") != std::string::npos);
  CHECK(message([&] { save_safetensors(folder / "x", {{"__metadata__", t}}); }).find("__metadata__") != std::string::npos);
  CHECK(message([&] { save_safetensors(folder / "x", {{"\xff", t}}); }).find("UTF-8") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}
