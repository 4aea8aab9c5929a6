// PyTorch checkpoints from before PyTorch 1.6, made byte by byte: the forms that later versions no longer write, and damaged and hostile files,
// each of which gives an error of one clear line, without a crash or much memory. Files that PyTorch itself wrote:
// tests/tensor/foreign_files.cpp.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/torch_file.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
using namespace fm::test::pickle;
namespace fs = std::filesystem;

namespace {

const fs::path golden = fs::path(FM_TESTS_FOLDER) / "golden/foreign";

// ('storage', type, key, 'cpu', elements, part)
std::string old_storage(const std::string& key, std::int64_t numel, const std::string& type = "FloatStorage",
                        const std::string& part = "N") {
  return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + whole(numel) + part) + "Q";
}

std::string floats(std::initializer_list<float> values) {
  std::string out;
  for (const float x : values) out += little(std::bit_cast<std::uint32_t>(x));
  return out;
}

struct Legacy {
  std::string magic = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
  std::string version = file("M\xe9\x03");
  std::string machine = file(dict(text("little_endian") + "\x88"));
  std::string saved;
  std::string keys = file("](" + text("7") + "e");
  std::string storages = little(std::int64_t{4}) + floats({1, 2, 3, 4});

  std::string bytes() const { return magic + version + machine + saved + keys + storages; }
};

std::string vector_of_four(const std::string& storage) { return tensor(storage, 0, numbers({4}), numbers({1})); }

Legacy good() {
  Legacy out;
  out.saved = file(dict(text("w") + vector_of_four(old_storage("7", 4))));
  return out;
}

std::string refusal(const fs::path& path, const std::string& bytes) {
  write_bytes(path, bytes);
  try {
    for (const auto& [name, t] : torch_state_dict(open_torch_file(path), "", path.string()).tensors) (void)t.to_vector<double>();
  } catch (const FileError& e) {
    return e.what();
  }
  return "no error";
}

NamedTensors read(const std::string& bytes) {
  const TempFolder folder;
  write_bytes(folder / "old.pth", bytes);
  return torch_state_dict(open_torch_file(folder / "old.pth"), "", "old.pth").tensors;
}

template <class F>
std::string changed(F&& change) {
  Legacy file = good();
  change(file);
  return file.bytes();
}

}  // namespace

TEST_CASE("a state dict is read; bytes after the last storage are ignored") {
  for (const char* behind : {"", "the next file"}) {
    const NamedTensors tensors = read(good().bytes() + behind);
    REQUIRE(tensors.size() == 1);
    CHECK(tensors[0].first == "w");
    CHECK(tensors[0].second.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  }
}

// Python 2 gives an OrderedDict as a list of lists and has strings of bytes; PyTorch 0.1 to 0.3 have _rebuild_tensor.
TEST_CASE("files of Python 2 and of PyTorch before 0.4 are read") {
  Legacy old = good();
  const std::string rebuilt =
      global("torch._utils", "_rebuild_tensor") + tuple(old_storage("7", 4) + whole(0) + numbers({2, 2}) + numbers({2, 1})) + "R";
  old.saved = file(global("collections", "OrderedDict") + tuple("](](U\x01w" + rebuilt + "ee") + "R");
  old.keys = file(
      "]U\x01"
      "7a");
  const NamedTensors tensors = read(old.bytes());
  REQUIRE(tensors.size() == 1);
  CHECK(tensors[0].first == "w");
  CHECK(tensors[0].second.shape() == Shape{2, 2});
  CHECK(tensors[0].second.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("tensors in overlapping parts of one storage share its memory") {
  Legacy old = good();
  const auto part = [](const char* key, std::int64_t begin, std::int64_t numel) { return tuple(text(key) + whole(begin) + whole(numel)); };
  const std::string first = old_storage("7", 4, "FloatStorage", part("8", 0, 3)),
                    second = old_storage("7", 4, "FloatStorage", part("9", 2, 2));
  old.saved = file(dict(text("a") + tensor(first, 1, numbers({2}), numbers({1})) + text("b") +
                        tensor(second, 0, numbers({2}), numbers({1})) + text("again") + tensor(second, 1, numbers({1}), numbers({1}))));
  const NamedTensors tensors = read(old.bytes());
  REQUIRE(tensors.size() == 3);
  CHECK(tensors[0].second.to_vector<float>() == std::vector<float>{2, 3});
  CHECK(tensors[1].second.to_vector<float>() == std::vector<float>{3, 4});
  CHECK(tensors[2].second.to_vector<float>() == std::vector<float>{4});
  tensors[1].second.select(0, 0).fill(42);
  CHECK(tensors[0].second.to_vector<float>() == std::vector<float>{2, 42});
}

TEST_CASE("a list of tensors whose storage was on a GPU") {
  Legacy old = good();
  const std::string id = tuple(text("storage") + global("torch.cuda", "FloatStorage") + text("7") + text("cuda:0") + whole(4) + "N") + "Q";
  old.saved = file("](" + vector_of_four(id) + tensor(id, 2, numbers({2}), numbers({1})) + "e");
  const NamedTensors tensors = read(old.bytes());
  REQUIRE(tensors.size() == 2);
  CHECK(tensors[1].first == "1");
  CHECK(tensors[1].second.to_vector<float>() == std::vector<float>{3, 4});
}

// A model that was saved whole: its class as a persistent id with its source, which is ignored.
TEST_CASE("the class and source of a saved module are ignored; the state dict beside it is read") {
  Legacy old = good();
  const std::string module = tuple(text("module") + global("models.vit", "ViT") + text("vit.py") + text("class ViT: ...")) + "Q)\x81}b";
  old.saved = file(dict(text("model") + module + text("ema") + dict(text("w") + vector_of_four(old_storage("7", 4)))));
  const TempFolder folder;
  write_bytes(folder / "old.pth", old.bytes());
  const TorchValue root = open_torch_file(folder / "old.pth");
  CHECK(root.find("model")->describe() == "object of models.vit.ViT");
  CHECK(torch_state_dict(root, "", "old.pth").tensors.size() == 1);
}

TEST_CASE("each damaged or hostile file of the old layout gives one clear line as its error") {
  const auto saved = [](const std::string& value) { return changed([&](Legacy& f) { f.saved = file(value); }); };
  const auto keys = [](const std::string& value) { return changed([&](Legacy& f) { f.keys = file(value); }); };
  const auto storages = [](const std::string& bytes) { return changed([&](Legacy& f) { f.storages = bytes; }); };
  const std::string whole_file = good().bytes(), four = old_storage("7", 4);
  const auto view = [&](std::int64_t offset, const std::string& shape, const std::string& strides) {
    return saved(dict(text("w") + tensor(four, offset, shape, strides)));
  };
  const struct {
    std::string what, bytes, message;
  } all[] = {
      {"the number alone", good().magic, "the version's pickle from byte 15"},
      {"another version", changed([](Legacy& f) { f.version = file("M\xea\x03"); }), "whose layout is not 1001"},
      {"a version of text", changed([](Legacy& f) { f.version = file(text("1001")); }), "whose layout is not 1001"},
      {"no machine", changed([](Legacy& f) { f.machine = "garbage"; }),
       "the machine's pickle from byte 21, byte 0: it does not begin like a pickle"},
      {"a cut pickle", whole_file.substr(0, 120), "its pickle from byte"},
      {"nothing saved", changed([](Legacy& f) { f.saved = ""; }),
       "the pickle of storage keys from byte 58, byte 0: it does not begin like a pickle"},
      {"no keys", changed([](Legacy& f) { f.keys = ""; }), "the pickle of storage keys from byte"},
      {"keys in a dict", keys("}"), "its storage keys are no list"},
      {"a number for a key", keys("](K\7e"), "a storage's key is no text"},
      {"a key too many", keys("](" + text("7") + text("8") + "e"), "no tensor uses its storage \"8\""},
      {"a key twice", keys("](" + text("7") + text("7") + "e"), "storage \"7\" occurs twice"},
      {"a key too few", keys("]"), "storage \"7\" is missing"},
      {"no storage", storages(""), "it is cut off before storage \"7\""},
      {"half a number", storages("\4\0\0"), "it is cut off before storage \"7\""},
      {"fewer elements", storages(little(std::int64_t{3}) + floats({1, 2, 3})), "storage \"7\" has 3 elements instead of 4"},
      {"more elements", storages(little(std::int64_t{1} << 60)), "storage \"7\" has 1152921504606846976 elements instead of 4"},
      {"negative elements", storages(little(std::int64_t{-1}) + floats({1})),
       "storage \"7\" has 18446744073709551615 elements instead of 4"},
      {"a cut storage", storages(little(std::int64_t{4}) + floats({1, 2, 3})), "storage \"7\" takes 16 bytes, 12 are left"},
      {"a huge storage", saved(dict(text("w") + vector_of_four(old_storage("7", std::int64_t{1} << 47)))),
       "elements instead of 140737488355328"},
      {"an impossible storage", saved(dict(text("w") + vector_of_four(old_storage("7", std::int64_t{1} << 62)))),
       "cannot have 4611686018427387904 elements"},
      {"two sizes", saved(dict(text("w") + vector_of_four(four) + text("v") + vector_of_four(old_storage("7", 5)))), "elsewhere"},
      {"two types", saved(dict(text("w") + vector_of_four(four) + text("v") + vector_of_four(old_storage("7", 4, "IntStorage")))),
       "elsewhere"},
      {"a type of the future", saved(dict(text("w") + vector_of_four(old_storage("7", 4, "FutureStorage")))),
       "without its size the data after it cannot be found"},
      {"offset beyond", view(5, numbers({}), numbers({})), "does not lie inside its storage of 4"},
      {"shape beyond", view(0, numbers({5}), numbers({1})), "does not lie inside its storage of 4"},
      {"strides beyond", view(0, numbers({2, 2}), numbers({3, 1})), "does not lie inside its storage of 4"},
      {"strides that overflow", view(0, numbers({2, 2}), numbers({INT64_MAX, INT64_MAX})), "impossibly large"},
      {"beyond its part",
       saved(dict(text("w") +
                  tensor(old_storage("7", 4, "FloatStorage", tuple(text("8") + whole(1) + whole(2))), 0, numbers({3}), numbers({1})))),
       "does not lie inside its storage of 2"},
      {"a part beyond",
       saved(dict(text("w") +
                  tensor(old_storage("7", 4, "FloatStorage", tuple(text("8") + whole(3) + whole(2))), 0, numbers({2}), numbers({1})))),
       "elements 3 to 3 + 2 of a storage of only 4"},
      {"a part of two values", saved(dict(text("w") + vector_of_four(old_storage("7", 4, "FloatStorage", tuple(text("8") + whole(3)))))),
       "described by 2 values"},
      {"a part that is another",
       saved(dict(
           text("w") + tensor(old_storage("7", 4, "FloatStorage", tuple(text("8") + whole(0) + whole(2))), 0, numbers({2}), numbers({1})) +
           text("v") + tensor(old_storage("7", 4, "FloatStorage", tuple(text("8") + whole(1) + whole(2))), 0, numbers({2}), numbers({1})))),
       "elsewhere"},
      {"an endless memo", saved("N" + memo(0) + std::string(2 << 20, '0')), "a missing value is used"},
      {"a memo beyond", saved("N" + memo(0xffffffff)), "memo number 4294967295"},
      {"nested too deeply", saved(std::string(100000, ']') + std::string(99999, 'a')), "nested more than 64 deep"},
      {"a dict in itself", saved("}" + memo(1) + text("model") + recall(1) + "s"), "contains itself"},
      {"a class without a name", saved(tuple(text("module")) + "Q"), "a persistent id does not name a storage"},
      {"a program", saved(global("os", "system") + tuple(text("echo boom")) + "R"), "storage \"7\""},
  };
  const TempFolder folder;
  const fs::path path = folder / "bad.pth";
  for (const auto& bad : all) {
    CAPTURE(bad.what);
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    const std::string message = refusal(path, bad.bytes);
    getrusage(RUSAGE_SELF, &after);
    CHECK_MESSAGE(has(message, bad.message), message);
    CHECK(message.starts_with(path.string()));
    CHECK(!has(message, "\n"));
    CHECK(message.size() < 600);
    CHECK(after.ru_maxrss - before.ru_maxrss < 64 << 10);  // KiB
  }
}

TEST_CASE("a truncated file of the old layout is an error; a file with a flipped byte never crashes the reader") {
  const TempFolder folder;
  const fs::path path = folder / "flipped.pth";
  for (const char* name : {"views-legacy.pt", "one-legacy.pt"}) {
    const std::string all = read_file(golden / name);
    for (std::size_t i = 0; i < all.size(); ++i) {
      refusal(path, all.substr(0, i) + char(all[i] ^ 0x15) + all.substr(i + 1));
      CHECK(refusal(path, all.substr(0, i)) != "no error");
    }
  }
}
