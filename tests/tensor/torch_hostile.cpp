// Damaged and hostile PyTorch checkpoints, made from files that PyTorch wrote: each is one clear line, without a crash or much memory.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <functional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/torch_file.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const fs::path golden = fs::path(FM_TESTS_FOLDER) / "golden/torch";

struct Bad {
  std::string what, bytes, message;  // a part of the message
};

std::vector<Member> good() { return members_of(golden / "bare-2.pt"); }

Member& named(std::vector<Member>& members, const std::string& end) {
  for (Member& m : members)
    if (m.name.ends_with(end)) return m;
  throw std::logic_error("no member " + end);
}

std::string with(const std::string& end, const std::function<void(Member&)>& change) {
  auto members = good();
  change(named(members, end));
  return zip_of(members);
}

std::string without(const std::string& end) {
  auto members = good();
  std::erase_if(members, [&](const Member& m) { return m.name.ends_with(end); });
  return zip_of(members);
}

// The golden archive with another pickle; its storages 0 and 1 hold 12 and 4 floats.
std::string pickled(const std::string& value) {
  return with("data.pkl", [&](Member& m) { m.bytes = pickle::file(value); });
}

std::string replaced(std::string s, const std::string& from, const std::string& to) {
  const std::size_t at = s.find(from);
  if (at == s.npos) throw std::logic_error("not in it: " + from);
  return s.replace(at, from.size(), to);
}

std::string repeated(const std::string& s, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += s;
  return out;
}

std::vector<Bad> damaged_archives() {
  const std::string file = read_file(golden / "bare-2.pt");
  const auto spoil = [](const Spoil& f) { return zip_of(good(), f); };
  const auto deflate = [](const char* end) { return with(end, [](Member& m) { m.deflated = true; }); };
  // The last 22 bytes of an archive with 32-bit records: ... entries (2), size of the directory (4), its place (4), comment (2).
  const auto tail = [](std::size_t from_end, const std::string& bytes) {
    std::string out = zip_of(good());
    return out.replace(out.size() - from_end, bytes.size(), bytes);
  };
  return {
      {"empty", "", "not a zip file"},
      {"text", "these are no weights", "not a zip file"},
      {"cut in the middle", file.substr(0, file.size() / 2), "not a zip file, or its end is cut off"},
      {"cut at the end", file.substr(0, file.size() - 10), "not a zip file, or its end is cut off"},
      {"cut at the front", file.substr(64), "corrupt zip file"},
      {"directory elsewhere", tail(6, "\xf0\xff\xff\x7f"), "its directory lies outside the file"},
      {"directory inside the data", tail(6, std::string(4, '\1')), "corrupt zip file"},
      {"too many entries", tail(12, "\xff\x7f"), "entries in a directory"},
      {"64-bit end record elsewhere", replaced(file, "PK\6\6", "PK\6\5"), "its 64-bit end record is not where it should be"},
      {"member elsewhere", spoil([](auto& e) { e[1].header += 3; }), "is not where the directory says"},
      {"member beyond the end", spoil([](auto& e) { e.back().compressed = e.back().size = 0x7ffffff0; }), "lies outside the file"},
      {"overlapping members", spoil([](auto& e) { e[2].header = e[3].header; }), "overlap"},
      {"a member inside another", spoil([](auto& e) { e[0].compressed = e[0].size += 200; }), "overlap"},
      {"encrypted", spoil([](auto& e) { e[0].flags = 1; }), "is encrypted"},
      {"deflated pickle", deflate("data.pkl"), "is compressed: store it"},
      {"deflated storage", deflate("data/0"), "is compressed: store it"},
      {"zip bomb", with("data/0", [](Member& m) { m.bytes.assign(32 << 20, '\0'), m.deflated = true; }), "is compressed: store it"},
      {"wrong checksum", spoil([](auto& e) { e[0].crc ^= 1; }), "checksum of member"},
      {"big-endian", with("byteorder", [](Member& m) { m.bytes = "big"; }), "byteorder is \"big\"; only little is read"},
      {"no pickle", without("data.pkl"), "without data.pkl is no PyTorch checkpoint"},
      {"no storage", without("data/1"), "data/1\" is missing"},
      {"short storage", with("data/1", [](Member& m) { m.bytes.pop_back(); }),
       "has 15 bytes where 4 elements of torch.FloatStorage take 16"},
      {"long storage", with("data/1", [](Member& m) { m.bytes += "abcd"; }), "has 20 bytes where 4 elements of torch.FloatStorage take 16"},
  };
}

std::vector<Bad> damaged_pickles() {
  using namespace pickle;
  const auto changed = [](const std::string& from, const std::string& to) {
    return with("data.pkl", [&](Member& m) { m.bytes = replaced(m.bytes, from, to); });
  };
  const std::string four = storage("1", 4);
  const auto view = [&](std::int64_t offset, const std::string& shape, const std::string& strides) {
    return pickled(dict(text("w") + tensor(four, offset, shape, strides)));
  };
  return {
      {"cut pickle", with("data.pkl", [](Member& m) { m.bytes.resize(m.bytes.size() / 2); }), "bytes are wanted"},
      {"empty pickle", with("data.pkl", [](Member& m) { m.bytes.clear(); }), "does not begin like a pickle"},
      {"protocol 4", changed("\x80\x02", "\x80\x04"), "pickle protocol 4, only 2"},
      {"os.system", pickled(global("os", "system") + tuple(text("echo boom")) + "R"),
       "it calls \"os.system\", and nothing from a file is run here"},
      {"eval", pickled(global("__builtin__", "eval") + tuple(text("1")) + "R"), "it calls \"__builtin__.eval\""},
      {"another rebuild", changed("_rebuild_tensor_v2", "_rebuild_qtensor"), "it calls \"torch._utils._rebuild_qtensor\""},
      {"a module's class", pickled(global("models.vit", "ViT") + ")\x81}b"), "it calls \"models.vit.ViT\""},
      {"a name without an end", pickled("cos"), "a name without an end"},
      {"an opcode beyond the 34", pickled(text("os") + text("system") + "\x93"), "opcode 0x93 is none of the 34"},
      {"an instance by name", pickled("(ios\nsystem\n"), "opcode 0x69 is none of the 34"},
      {"a list in itself", pickled("]" + memo(1) + recall(1) + "a"), "contains itself"},
      {"a cycle through the memo", pickled("}" + memo(1) + text("a") + "]" + recall(1) + "as"), "contains itself"},
      {"memo too far", pickled("]" + memo(0xfffffff0)), "memo number 4294967280"},
      {"memo never written", pickled(recall(7)), "memo number 7 was never written"},
      {"nested too deeply", pickled(repeated("]", 100000) + repeated("a", 99999)), "nested more than 64 deep"},
      {"a string beyond the end", pickled("X" + little(0xffffu) + "a"), "65535 bytes are wanted"},
      {"a string of 4 GiB", pickled("X" + little(0xffffffffu)), "a string of 4294967295 bytes"},
      {"no mark", pickled("]e"), "a mark is used that is not there"},
      {"empty stack", pickled("Na"), "a value is used that is not there"},
      {"values left over", pickled("NN"), "values are left on its stack"},
      {"a key without a value", pickled("}(" + text("a") + "u"), "a key without a value"},
      {"a key twice", pickled(dict(text("a") + "N" + text("a") + "N")), "the key \"a\" occurs twice"},
      {"a list for a key", pickled(dict("]N")), "a dict has a list for a key"},
      {"append to a number", pickled("K\1Na"), "what is added to is a int instead of a list"},
      {"call of a number", pickled("K\1)R"), "what is called is a int"},
      {"attributes of a list", pickled("]}b"), "attributes are set on a list"},
      {"too many values", pickled("(" + repeated("N", (1u << 20) + 1) + "t"), "more than 1048576 values"},
      {"too many lists", pickled("(" + repeated("]", (1u << 18) + 1) + "t"), "more than 262144 lists"},
      {"too many marks", pickled(repeated("(", 1u << 17)), "open marks"},
      {"too many entries of a list", pickled("]N" + memo(0) + "a" + repeated("(" + repeated(recall(0), 1000) + "e", 1050)),
       "more than 1048576 entries"},
      {"too many on the stack", pickled("N" + memo(0) + repeated("h" + little(std::uint8_t(0)), 1u << 20)), "on its stack"},
      {"a function as a value", pickled(dict(text("f") + global("torch._utils", "_rebuild_parameter"))),
       "a function or type is kept as a value"},
      {"a storage as a value", pickled(dict(text("s") + four)), "a storage is kept without a tensor"},
      {"signed bytes", pickled(storage("1", 4, "CharStorage")), "elements of torch.CharStorage cannot be read"},
      {"complex numbers", pickled(storage("1", 4, "ComplexFloatStorage")), "elements of torch.ComplexFloatStorage cannot be read"},
      {"a number for an id", pickled("K\1Q"), "a persistent id is a int"},
      {"an id of something else", pickled(tuple(text("module")) + "Q"), "a persistent id that is no storage"},
      {"a path for a key", pickled(storage("../../etc/passwd", 4)), "a storage's key is \"../../etc/passwd\""},
      {"a huge storage", pickled(storage("1", std::int64_t{1} << 62)), "storage \"1\" of 4611686018427387904 elements"},
      {"a larger storage", pickled(tensor(storage("1", 1000000), 0, numbers({4}), numbers({1}))), "has 16 bytes where 1000000 elements"},
      {"a negative storage", pickled(storage("1", -4)), "a storage's number of elements is -4"},
      {"two types of one storage", pickled(tuple(tensor(four, 0, numbers({4}), numbers({1})) + storage("1", 2, "DoubleStorage"))),
       "elsewhere"},
      {"offset beyond", view(5, numbers({}), numbers({})), "leaves its storage of 4"},
      {"negative offset", view(-1, numbers({4}), numbers({1})), "a tensor's offset is -1"},
      {"shape beyond", view(0, numbers({5}), numbers({1})), "leaves its storage of 4"},
      {"strides beyond", view(0, numbers({2, 2}), numbers({3, 1})), "leaves its storage of 4"},
      {"negative shape", view(0, numbers({-4}), numbers({1})), "a tensor's shape is -4"},
      {"negative stride", view(3, numbers({4}), numbers({-1})), "a tensor's strides is -1"},
      {"a product that overflows",
       view(0, numbers({std::int64_t{1} << 31, std::int64_t{1} << 31, std::int64_t{1} << 31}), numbers({0, 0, 0})), "impossibly large"},
      {"strides that overflow", view(0, numbers({2, 2}), numbers({INT64_MAX, INT64_MAX})), "impossibly large"},
      {"one value, 2^40 times", view(0, numbers({std::int64_t{1} << 40}), numbers({0})), "repeats the 4 values of its storage too often"},
      {"many tensors of many repeats",
       pickled("(" + tensor(four, 0, numbers({1 << 20}), numbers({0})) + memo(0) +
               repeated(tensor(four, 0, numbers({1 << 20}), numbers({0})), 20) + "t"),
       "elements of tensors in storages of 4"},
      {"nine dimensions", view(0, numbers({1, 1, 1, 1, 1, 1, 1, 1, 1}), numbers({1, 1, 1, 1, 1, 1, 1, 1, 1})), "9 dimensions, at most 8"},
      {"strides of another rank", view(0, numbers({2, 2}), numbers({1})), "shape [2, 2] and strides [1]"},
      {"a tensor of a number", pickled(tensor("K\1", 0, numbers({}), numbers({}))), "a tensor's storage is a int"},
      {"too few arguments", pickled(global("torch._utils", "_rebuild_tensor_v2") + ")R"), "_rebuild_tensor_v2 with 0 arguments"},
      {"not a dict", pickled(text("weights")), "it holds a str, a dict of tensors is wanted"},
      {"no tensors", pickled(dict(text("epoch") + "K\1")), "no dict of tensors in it"},
  };
}

// The line that a file is refused with.
std::string refusal(const fs::path& file, const std::string& bytes) {
  write_bytes(file, bytes);
  try {
    torch_state_dict(open_torch_file(file), "", file.string());
  } catch (const FileError& e) {
    return e.what();
  }
  return "no error";
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

}  // namespace

TEST_CASE("each damaged or hostile file is one clear line") {
  const TempFolder folder;
  const fs::path file = folder / "bad.pt";
  std::vector<Bad> all = damaged_archives();
  for (Bad& bad : damaged_pickles()) all.push_back(std::move(bad));
  CHECK(all.size() >= 30);
  for (const Bad& bad : all) {
    CAPTURE(bad.what);
    const long before = peak_kib();
    const std::string message = refusal(file, bad.bytes);
    CHECK_MESSAGE(has(message, bad.message), message);
    CHECK(message.starts_with(file.string()));
    CHECK(!has(message, "\n"));
    CHECK(message.size() < 600);
    if (!sanitized) CHECK(peak_kib() - before < 64 << 10);
  }
}

TEST_CASE("a large file that is cut off is refused by its end, without being read") {
  const TempFolder folder;
  const fs::path file = folder / "cut.pt";
  write_bytes(file, "PK\3\4");
  fs::resize_file(file, std::uintmax_t{1} << 29);
  const long before = peak_kib();
  CHECK_THROWS_WITH_AS(open_torch_file(file), doctest::Contains("its end is cut off"), FileError);
  if (!sanitized) CHECK(peak_kib() - before < 64 << 10);
}

TEST_CASE("any cut or flipped byte is an error or changes nothing that crashes") {
  const TempFolder folder;
  const fs::path file = folder / "flipped.pt";
  for (const char* name : {"bare-1.13.pt", "strided-2.pt"}) {
    const std::string whole = read_file(golden / name);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      refusal(file, whole.substr(0, i) + char(whole[i] ^ 0x15) + whole.substr(i + 1));
      CHECK(refusal(file, whole.substr(0, i)) != "no error");
    }
  }
  // The same without the checksum's protection: the pickle's bytes.
  auto members = good();
  const std::string whole = named(members, "data.pkl").bytes;
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const int flip : {0x01, 0x20, 0xff}) {
      named(members, "data.pkl").bytes = whole.substr(0, i) + char(whole[i] ^ flip) + whole.substr(i + 1);
      refusal(file, zip_of(members));
    }
}
