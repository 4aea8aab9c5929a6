// PyTorch checkpoints: files written by PyTorch 1.13 and 2.x (tests/golden/make_torch_files.py) are read bit for bit, state dicts are
// found in their wrappers, archives beyond 4 GiB are mapped. Damaged and hostile files: tests/tensor/torch_hostile.cpp.
#include "tensor/io/torch_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <sstream>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/limits.h"
#include "tests/support/near.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const fs::path golden = fs::path(FM_TESTS_FOLDER) / "golden/torch";

std::string hex_of(const Tensor& t) {
  const Tensor rows = t.contiguous();
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

void list(const std::string& file, const TorchValue& value, const std::string& path, std::string& out) {
  if (value.is(PickleKind::tensor)) {
    const Tensor t = value.tensor();
    out += file + " " + path + " " + name_of(t.dtype()) + " " + shape_of(t) + " " + hex_of(t) + "\n";
  } else if (value.is(PickleKind::dict)) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      const TorchValue key = value.key(i);
      list(file, value.item(i), path + "/" + (key.is(PickleKind::text) ? key.text() : std::to_string(key.integer())), out);
    }
  }
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const FileError& e) {
    return e.what();
  }
  return "no FileError";
}

}  // namespace

TEST_CASE("files of PyTorch 1.13 and 2 are read bit for bit") {
  for (const std::string version : {"1.13", "2"}) {
    std::istringstream expected(read_file(golden / ("expected-" + version + ".txt")));
    std::map<std::string, std::string> got;
    std::string line;
    std::map<std::string, std::string> wanted;
    while (std::getline(expected, line)) wanted[line.substr(0, line.find(' '))] += line + "\n";
    CHECK(wanted.size() == 8);
    for (const auto& [file, lines] : wanted) {
      std::string out;
      list(file, open_torch_file(golden / file), "", out);
      CHECK(out == lines);
    }
  }
}

TEST_CASE("numbers, texts, lists, dicts and None in a checkpoint") {
  for (const char* file : {"training-1.13.pt", "training-2.pt"}) {
    const TorchValue root = open_torch_file(golden / file);
    const auto at = [&](const char* key) { return *root.find(key); };
    CHECK(at("step").integer() == 300000);
    CHECK(at("best").number() == 1.25);
    CHECK(at("name").text() == "gr\u00fc\u00df");
    CHECK(at("done").is(PickleKind::boolean));
    CHECK(at("done").integer() == 0);
    CHECK(at("device").text() == "cpu");
    CHECK(at("dtype").text() == "bfloat16");
    CHECK(at("size").item(1).integer() == 3);
    CHECK(at("seed").number() == 0x1p63 + 12345);
    CHECK(at("many").integer() == 70000);
    CHECK(at("negative").integer() == -70000);
    CHECK(at("nothing").is(PickleKind::none));
    CHECK(at("list").item(1).item(1).text() == "x");
    CHECK(at("list").item(2).size() == 0);
    CHECK(at("counts").key(0).integer() == 3);
    CHECK(at("counts").item(0).integer() == 2);
    CHECK(near(at("optimizer").find("param_groups")->item(0).find("lr")->number(), 1e-4, 1e-14));
    CHECK(!root.find("absent"));
    CHECK(error_of([&] { at("step").text(); }).find("an int was found where a str is expected") != std::string::npos);
    CHECK(error_of([&] { at("list").item(4); }).find("there is no entry 4 in a list of 4") != std::string::npos);
  }
}

TEST_CASE("strided tensors are views; shared storages stay shared after the file is closed") {
  NamedTensors tensors = torch_state_dict(open_torch_file(golden / "strided-2.pt"), "", "strided-2.pt").tensors;
  std::map<std::string, Tensor> by_name(tensors.begin(), tensors.end());
  const Tensor base = by_name["base"];
  for (const char* name : {"transposed", "rows", "columns", "last", "tied"}) CHECK(by_name[name].shares_memory_with(base));
  for (const char* name : {"expanded", "half.transposed", "parameter"}) CHECK_FALSE(by_name[name].shares_memory_with(base));
  base.select(0, 3).select(0, 5).fill(42);
  CHECK(by_name["last"].item() == 42);
  CHECK(by_name["transposed"].select(0, 5).select(0, 3).item() == 42);
  CHECK(by_name["expanded"].strides()[0] == 0);
}

TEST_CASE("the file of RAE's latent statistics may have None as its mean") {
  const TorchValue stat = open_torch_file(golden / "stat-1.13.pt");
  CHECK(stat.find("mean")->is(PickleKind::none));
  CHECK(stat.find("var")->tensor().shape() == Shape{2, 3, 3});
  CHECK(torch_state_dict(stat, "", "stat.pt").tensors.size() == 1);
}

TEST_CASE("a state dict is found inside its wrapper, or under a given key") {
  const auto first = [](const char* file, const std::string& key) {
    return torch_state_dict(open_torch_file(golden / file), key, file).tensors.at(0).second.to_vector<float>();
  };
  const auto bare = first("bare-2.pt", "");
  for (const char* file : {"ema-2.pt", "model-2.pt", "state_dict-2.pt"}) CHECK(first(file, "") == bare);
  CHECK(first("model-2.pt", "model") == bare);
  const auto model = first("training-2.pt", "model"), ema = first("training-2.pt", "ema");
  CHECK(ema[0] == model[0] / 2);
  CHECK(first("training-2.pt", "") == ema);  // as the published code chooses
}

TEST_CASE("the error for a missing entry lists the entries that exist") {
  const auto error = [](const char* file, const std::string& key) {
    return error_of([&] { torch_state_dict(open_torch_file(golden / file), key, file); });
  };
  CHECK(error("model-2.pt", "ema") == "model-2.pt: no entry \"ema\"; there are \"model\" (dict of 7), \"epoch\" (int)");
  CHECK(error("model-2.pt", "epoch") == "model-2.pt: it holds an int instead of a dict of tensors");
  CHECK(error("training-2.pt", "optimizer").find("choose one of its entries as training-2.pt:ENTRY: \"state\" (dict of 4)") !=
        std::string::npos);
}

namespace {

// An archive with 64-bit records whose storages are holes of a sparse file.
struct SparseZip {
  struct Placed {
    std::string name;
    std::uint64_t size, header;
    std::uint32_t crc;
  };
  int file;
  std::uint64_t end = 0;
  std::vector<Placed> members{};

  void put_at(std::uint64_t at, const std::string& bytes) {
    REQUIRE(pwrite(file, bytes.data(), bytes.size(), off_t(at)) == ssize_t(bytes.size()));
  }
  void append(const std::string& bytes) { put_at(end, bytes), end += bytes.size(); }

  // Returns where the member's data begins, a multiple of 64.
  std::uint64_t member(const std::string& name, std::uint64_t size, const std::string& bytes = {}) {
    using namespace zip_records;
    const auto crc = std::uint32_t(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    members.push_back({name, size, end, crc});
    const std::size_t padding = (64 - (end + local_size + name.size()) % 64) % 64 + 64;
    std::string head;
    put(head, local_signature), put_entry(head, {}, name.size());
    head.resize(head.size() - 2), put(head, std::uint16_t(padding));
    append(head + name + std::string(padding, 'P'));
    put_at(end, bytes);
    end += size;
    return end - size;
  }

  void finish() {
    using namespace zip_records;
    const std::uint64_t start = end;
    std::string out;
    for (const Placed& m : members) {
      put(out, central_signature), put(out, std::uint16_t(45));
      put_entry(out, {.crc = m.crc, .compressed = in64, .size = in64, .header = in64}, m.name.size());
      out.resize(out.size() - 2), put(out, std::uint16_t(28));
      out += std::string(10, '\0');
      put(out, in64);
      out += m.name;
      put(out, extra64), put(out, std::uint16_t(24)), put(out, m.size), put(out, m.size), put(out, m.header);
    }
    const std::uint64_t length = out.size(), end64 = start + length;
    put(out, end64_signature), put(out, std::uint64_t(44)), put(out, std::uint16_t(45)), put(out, std::uint16_t(45)),
        put(out, std::uint64_t(0));
    put(out, std::uint64_t(members.size())), put(out, std::uint64_t(members.size())), put(out, length), put(out, start);
    put(out, locator64_signature), put(out, std::uint32_t(0)), put(out, end64), put(out, std::uint32_t(1));
    put(out, end_signature), put(out, std::uint32_t(0)), put(out, std::uint16_t(0xffff)), put(out, std::uint16_t(0xffff)), put(out, in64),
        put(out, in64), put(out, std::uint16_t(0));
    append(out);
  }
};

}  // namespace

TEST_CASE("a file beyond 4 GiB with 64-bit sizes is read") {
  const TempFolder folder;
  const fs::path path = folder / "large.pt";
  const std::int64_t bytes = (std::int64_t{9} << 29) + 64, row = std::int64_t{1} << 29;  // 4.5 GiB and 64 bytes
  if (!test::room_for_file(std::uint64_t(bytes) + (1 << 20))) {
    MESSAGE("skipped: the address space or the size of files is limited");
    return;
  }
  SparseZip zip{open(path.c_str(), O_RDWR | O_CREAT, 0600)};
  const std::string content = pickle::file(
      pickle::dict(pickle::text("large") +
                   pickle::tensor(pickle::storage("0", bytes, "ByteStorage"), 64, pickle::numbers({9, row}), pickle::numbers({row, 1})) +
                   pickle::text("after") + pickle::tensor(pickle::storage("1", 2), 0, pickle::numbers({2}), pickle::numbers({1}))));
  zip.member("large/data.pkl", content.size(), content);
  const std::uint64_t at = zip.member("large/data/0", std::uint64_t(bytes));
  zip.put_at(at + std::uint64_t(bytes) - 1, "\x2a");
  const float values[] = {1.5f, -2.5f};
  zip.member("large/data/1", 8, std::string(reinterpret_cast<const char*>(values), 8));
  zip.finish();
  close(zip.file);
  const NamedTensors tensors = torch_state_dict(open_torch_file(path), "", "large.pt").tensors;
  CHECK(tensors.at(0).second.shape() == Shape{9, row});
  CHECK(tensors.at(0).second.select(0, 8).select(0, row - 1).item() == 42);
  CHECK(tensors.at(1).second.to_vector<float>() == std::vector<float>{1.5f, -2.5f});
}
