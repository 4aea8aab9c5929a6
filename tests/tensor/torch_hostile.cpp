// Damaged and hostile PyTorch checkpoints, made from files that PyTorch wrote: each gives an error of one clear line, without a crash or much memory.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <functional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/torch_file.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/sanitized.h"
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

std::string many_names(int n) {
  std::string out = "(";
  for (int i = 0; i < n; ++i) out += pickle::global("m", std::to_string(i));
  return out + "t";
}

// A call of _rebuild_tensor_v3 on the 16 bytes of storage 1.
std::string typed(const std::string& type, const std::string& shape) {
  using namespace pickle;
  const std::string bytes = tuple(text("storage") + global("torch.storage", "UntypedStorage") + text("1") + text("cpu") + whole(16)) + "Q";
  return global("torch._utils", "_rebuild_tensor_v3") +
         tuple(bytes + whole(0) + shape + numbers({1}) + "\x89" + global("collections", "OrderedDict") + ")R" + type) + "R";
}

// A tensor in a part of storage 1.
std::string part(std::int64_t begin, std::int64_t numel) {
  using namespace pickle;
  const std::string view = tuple(text("part") + whole(begin) + whole(numel));
  const std::string id = tuple(text("storage") + global("torch", "FloatStorage") + text("1") + text("cpu") + whole(4) + view) + "Q";
  return dict(text("w") + tensor(id, 0, numbers({numel}), numbers({1})));
}

std::string spoil_deflated() {
  auto members = good();
  named(members, "data.pkl").deflated = true;
  return zip_of(members, [](std::vector<Entry>& e) { e[0].size += 1; });
}

// Four deflated storages of 32 MiB each, of zeros.
std::string bomb() {
  using namespace pickle;
  std::string pairs;
  std::vector<Member> members = {{"a/data.pkl", ""}};
  for (int i = 0; i < 4; ++i) {
    const std::string key = std::to_string(i);
    pairs += text(key) + tensor(storage(key, 8 << 20), 0, numbers({8 << 20}), numbers({1}));
    members.push_back({"a/data/" + key, std::string(32 << 20, '\0'), true});
  }
  members[0].bytes = file(dict(pairs));
  return zip_of(members);
}

std::string script() {
  auto members = good();
  members.push_back({members[0].name.substr(0, members[0].name.find('/')) + "/constants.pkl", pickle::file(")")});
  return zip_of(members);
}

std::vector<Bad> damaged_archives() {
  const std::string file = read_file(golden / "bare-2.pt");
  const auto spoil = [](const Spoil& f) { return zip_of(good(), f); };
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
      {"member elsewhere", spoil([](auto& e) { e[1].header += 3; }), "is not at the place that the directory names"},
      {"member beyond the end", spoil([](auto& e) { e.back().compressed = e.back().size = 0x7ffffff0; }), "lies outside the file"},
      {"overlapping members", spoil([](auto& e) { e[2].header = e[3].header; }), "overlap"},
      {"a member inside another", spoil([](auto& e) { e[0].compressed = e[0].size += 200; }), "overlap"},
      {"encrypted", spoil([](auto& e) { e[0].flags = 1; }), "is encrypted"},
      {"a storage that unpacks to more", with("data/0", [](Member& m) { m.bytes.assign(32 << 20, '\0'), m.deflated = true; }),
       "has 33554432 bytes where 12 elements of torch.FloatStorage take 48"},
      {"a pickle that unpacks to less", spoil_deflated(), "does not unpack"},
      {"zip bomb", bomb(), "deflated storages unpack to 134217728 bytes, the file has"},
      {"TorchScript", script(), "a TorchScript archive (torch.jit.save), which is a program"},
      {"wrong checksum", spoil([](auto& e) { e[0].crc ^= 1; }), "checksum of member"},
      {"a third byte order", with("byteorder", [](Member& m) { m.bytes = "middle"; }), "byteorder is \"middle\"; little and big are read"},
      {"no pickle", without("data.pkl"), "has neither a data.pkl, as a PyTorch checkpoint has"},
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
      {"cut pickle", with("data.pkl", [](Member& m) { m.bytes.resize(m.bytes.size() / 2); }), "bytes are needed"},
      {"empty pickle", with("data.pkl", [](Member& m) { m.bytes.clear(); }), "does not begin like a pickle"},
      {"protocol 1", changed("\x80\x02", "\x80\x01"), "pickle protocol 1 is not supported; 2 (torch.save's own) to 5 are"},
      {"protocol 6", changed("\x80\x02", "\x80\x06"), "pickle protocol 6"},
      {"os.system", pickled(global("os", "system") + tuple(text("echo boom")) + "R"),
       "an object of os.system, which is not built, since nothing from a file is run here"},
      {"eval", pickled(global("__builtin__", "eval") + tuple(text("1")) + "R"), "an object of __builtin__.eval, which is not built"},
      {"a call of what a call made", pickled(global("builtins", "getattr") + tuple(text("a")) + "R" + tuple(text("b")) + "R"),
       "an object of builtins.getattr"},
      {"a name that would move the cursor", pickled(global("os", "\x1b[2Jsys\xe2\x80\xaetem") + ")R"), "an object of os.\\x1b[2Jsys\\u202etem,"},
      {"another rebuild", changed("_rebuild_tensor_v2", "_rebuild_qtensor"), "it holds \"0.weight\", but a quantized tensor"},
      {"a module's class", pickled(global("models.vit", "ViT") + ")\x81}b"), "an object of models.vit.ViT"},
      {"a class with keywords", pickled(global("models.vit", "ViT") + ")}\x92"), "an object of models.vit.ViT"},
      {"entries of an object", pickled(global("easydict", "EasyDict") + ")\x81(" + text("a") + "K\1u"), "an object of easydict.EasyDict"},
      {"a long name", pickled(global("os", std::string(600, 'a'))), "a name has 602 bytes"},
      {"too many names", pickled(many_names(5000)), "more than 4096 names"},
      {"a function of numbers", pickled("K\1K\2\x93"), "a name is an int instead of a str"},
      {"a subclass of a subclass",
       pickled(global("torch._tensor", "_rebuild_from_type_v2") +
               tuple(global("torch._tensor", "_rebuild_from_type_v2") + global("a", "b") + ")" + "}") + "R"),
       "a tensor of a subclass is rebuilt from a tensor of a subclass"},
      {"a subclass made of nothing", pickled(global("torch._tensor", "_rebuild_from_type_v2") + tuple("K\1K\2)}") + "R"),
       "the function that rebuilds a tensor is an int"},
      {"a dict of odd entries", pickled(global("collections", "OrderedDict") + tuple("](" + tuple("K\1") + "e") + "R"),
       "an entry of an OrderedDict has 1 values"},
      {"a name without an end", pickled("cos"), "a name has no end"},
      {"a name from the stack", pickled(text("os") + text("system") + "\x93"), "it holds a class or function os.system"},
      {"an instance by name", pickled("(ios\nsystem\n"), "opcode 0x69 is none of those"},
      {"the registry of extensions", pickled("\x82\1"), "opcode 0x82 is none of those"},
      {"bytes outside the file", pickled("\x97"), "opcode 0x97 is none of those"},
      {"bytes beyond the end", pickled("\x8e" + little(std::uint64_t{1} << 60)), "1152921504606846976 bytes are needed"},
      {"a list in itself", pickled("]" + memo(1) + recall(1) + "a"), "contains itself"},
      {"a cycle through the memo", pickled("}" + memo(1) + text("a") + "]" + recall(1) + "as"), "contains itself"},
      {"memo too far", pickled("]" + memo(0xfffffff0)), "memo number 4294967280"},
      {"memo never written", pickled(recall(7)), "memo number 7 was never written"},
      {"nested too deeply", pickled(repeated("]", 100000) + repeated("a", 99999)), "nested more than 64 deep"},
      {"a string beyond the end", pickled("X" + little(0xffffu) + "a"), "65535 bytes are needed"},
      {"a string of 4 GiB", pickled("X" + little(0xffffffffu)), "4294967295 bytes are needed"},
      {"no mark", pickled("]e"), "a missing mark is used"},
      {"empty stack", pickled("Na"), "a missing value is used"},
      {"values left over", pickled("NN"), "values are left on its stack"},
      {"a key without a value", pickled("}(" + text("a") + "u"), "a key without a value"},
      {"a key twice", pickled(dict(text("a") + "N" + text("a") + "N")), "the key \"a\" occurs twice"},
      {"a list for a key", pickled(dict("]N")), "a list (None)"},
      {"append to a number", pickled("K\1Na"), "the value that gets entries is an int instead of a list"},
      {"call of a number", pickled("K\1)R"), "the called value is an int"},
      {"attributes of a list", pickled("]}b"), "attributes are set on a list"},
      {"too many values", pickled("(" + repeated("N", (1u << 20) + 1) + "t"), "more than 1048576 values"},
      {"too many lists", pickled("(" + repeated("]", (1u << 18) + 1) + "t"), "more than 262144 lists"},
      {"too many marks", pickled(repeated("(", 1u << 17)), "open marks"},
      {"too many entries of a list", pickled("]N" + memo(0) + "a" + repeated("(" + repeated(recall(0), 1000) + "e", 1050)),
       "more than 1048576 entries"},
      {"too many on the stack", pickled("N" + memo(0) + repeated("h" + little(std::uint8_t(0)), 1u << 20)), "its stack has more than"},
      {"a function as a value", pickled(dict(text("f") + global("torch._utils", "_rebuild_parameter"))),
       "no dict of tensors in it; choose one of its entries"},
      {"a storage as a value", pickled(dict(text("s") + four)), "\"s\" (storage)"},
      {"a storage of another size", pickled(storage("1", 4, "CharStorage")), "has 16 bytes where 4 elements of torch.CharStorage take 4"},
      {"complex numbers", pickled(dict(text("w") + tensor(storage("1", 2, "ComplexFloatStorage"), 0, numbers({2}), numbers({1})))),
       "it holds \"w\", but elements of complex64 cannot be read"},
      {"a storage of a future type", pickled(dict(text("w") + tensor(storage("1", 2, "FutureStorage"), 0, numbers({2}), numbers({1})))),
       "it holds \"w\", but elements of type \"FutureStorage\" cannot be read"},
      {"a type of a future PyTorch", pickled(dict(text("w") + typed(global("torch", "float4_e2m1fn_x2"), numbers({16})))),
       "it holds \"w\", but elements of type \"torch.float4_e2m1fn_x2\" cannot be read"},
      {"a typed view beyond its bytes", pickled(dict(text("w") + typed(global("torch", "uint16"), numbers({9})))), "does not lie inside its storage of 8"},
      {"a tensor as a storage", pickled(dict(text("w") + tensor(tensor(four, 0, numbers({4}), numbers({1})), 0, numbers({4}), numbers({1})))),
       "a tensor's storage is a tensor"},
      {"a part of a storage", pickled(part(3, 2)), "elements 3 to 3 + 2 of a storage of only 4"},
      {"a part that is no part", pickled(part(-1, 2)), "a part's first element is -1"},
      {"a number for an id", pickled("K\1Q"), "a persistent id is an int"},
      {"an id of something else", pickled(tuple(text("module")) + "Q"), "a persistent id does not name a storage"},
      {"a path for a key", pickled(storage("../../etc/passwd", 4)), "a storage's key is \"../../etc/passwd\""},
      {"a huge storage", pickled(storage("1", std::int64_t{1} << 62)), "storage \"1\" cannot have 4611686018427387904 elements"},
      {"a larger storage", pickled(tensor(storage("1", 1000000), 0, numbers({4}), numbers({1}))), "has 16 bytes where 1000000 elements"},
      {"a negative storage", pickled(storage("1", -4)), "a storage's number of elements is -4"},
      {"two types of one storage", pickled(tuple(tensor(four, 0, numbers({4}), numbers({1})) + storage("1", 2, "DoubleStorage"))),
       "elsewhere"},
      {"offset beyond", view(5, numbers({}), numbers({})), "does not lie inside its storage of 4"},
      {"negative offset", view(-1, numbers({4}), numbers({1})), "a tensor's offset is -1"},
      {"shape beyond", view(0, numbers({5}), numbers({1})), "does not lie inside its storage of 4"},
      {"strides beyond", view(0, numbers({2, 2}), numbers({3, 1})), "does not lie inside its storage of 4"},
      {"negative shape", view(0, numbers({-4}), numbers({1})), "a tensor's shape is -4"},
      {"negative stride", view(3, numbers({4}), numbers({-1})), "a tensor's strides is -1"},
      {"a product that overflows",
       view(0, numbers({std::int64_t{1} << 31, std::int64_t{1} << 31, std::int64_t{1} << 31}), numbers({0, 0, 0})), "impossibly large"},
      {"strides that overflow", view(0, numbers({2, 2}), numbers({INT64_MAX, INT64_MAX})), "impossibly large"},
      {"one value, 2^40 times", view(0, numbers({std::int64_t{1} << 40}), numbers({0})), "repeats the 4 values of its storage too often"},
      {"many tensors of many repeats",
       pickled("(" + tensor(four, 0, numbers({1 << 20}), numbers({0})) + memo(0) +
               repeated(tensor(four, 0, numbers({1 << 20}), numbers({0})), 20) + "t"),
       "elements, too many for storages of 4"},
      {"nine dimensions", view(0, numbers({1, 1, 1, 1, 1, 1, 1, 1, 1}), numbers({1, 1, 1, 1, 1, 1, 1, 1, 1})), "9 dimensions, at most 8"},
      {"strides of another rank", view(0, numbers({2, 2}), numbers({1})), "shape [2, 2] and strides [1]"},
      {"a tensor of a number", pickled(tensor("K\1", 0, numbers({}), numbers({}))), "a tensor's storage is an int"},
      {"too few arguments", pickled(global("torch._utils", "_rebuild_tensor_v2") + ")R"), "_rebuild_tensor_v2 is called with 0 arguments"},
      {"not a dict", pickled(text("weights")), "it holds a str instead of a dict of tensors"},
      {"no tensors", pickled(dict(text("epoch") + "K\1")), "no dict of tensors in it"},
  };
}

// Returns the error for a file, or "no error".
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

}  // namespace

TEST_CASE("each damaged or hostile PyTorch file gives one clear line as its error and uses little memory") {
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

TEST_CASE("a large truncated file is refused after reading only its end") {
  const TempFolder folder;
  const fs::path file = folder / "cut.pt";
  write_bytes(file, "PK\3\4");
  fs::resize_file(file, std::uintmax_t{1} << 29);
  const long before = peak_kib();
  CHECK_THROWS_WITH_AS(open_torch_file(file), doctest::Contains("its end is cut off"), FileError);
  if (!sanitized) CHECK(peak_kib() - before < 64 << 10);
}

TEST_CASE("a truncated PyTorch file is an error; a file with a flipped byte never crashes the reader") {
  const TempFolder folder;
  const fs::path file = folder / "flipped.pt";
  for (const char* name : {"bare-1.13.pt", "strided-2.pt"}) {
    const std::string whole = read_file(golden / name);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      refusal(file, whole.substr(0, i) + char(whole[i] ^ 0x15) + whole.substr(i + 1));
      CHECK(refusal(file, whole.substr(0, i)) != "no error");
    }
  }
  // The same for the bytes of the pickle, in archives with a correct checksum.
  auto members = good();
  const std::string whole = named(members, "data.pkl").bytes;
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const int flip : {0x01, 0x20, 0xff}) {
      named(members, "data.pkl").bytes = whole.substr(0, i) + char(whole[i] ^ flip) + whole.substr(i + 1);
      refusal(file, zip_of(members));
    }
}
