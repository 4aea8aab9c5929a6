// NumPy arrays as samples: types, shapes, labels, splits, and values that are refused.
#include "data/array_source.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "data/array_rows.h"
#include "data/loader.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/limits.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;
namespace fs = std::filesystem;

namespace {

std::string golden(const char* name) { return "arrays:" + (fs::path(FM_TESTS_FOLDER) / "golden/data" / name).string(); }

std::vector<float> values(const SampleSource& s, std::int64_t i) {
  std::vector<float> x(std::size_t(s.shape().numel()));
  s.read(i, {}, x.data());
  return x;
}

std::vector<std::uint8_t> levels(const SampleSource& s, std::int64_t i) {
  std::vector<std::uint8_t> x(std::size_t(s.shape().numel()));
  s.read(i, {}, x.data());
  return x;
}

std::string spec_of(const fs::path& file) { return "arrays:" + file.string(); }

}  // namespace

TEST_CASE("NumPy's f16, big-endian f64 and i16 become the same f32 rows") {
  for (const char* name : {"f16.npy", "f64_big_endian.npy", "i16.npz"}) {
    CAPTURE(name);
    const float scale = std::string(name) == "i16.npz" ? 8.0f : 1.0f;
    const auto train = open_source(golden(name), Split::train);
    CHECK(train->shape() == Shape{2, 3});
    CHECK(train->dtype() == DType::f32);
    const bool labelled = scale == 8.0f;
    CHECK(train->class_names().size() == (labelled ? 4 : 1));
    CHECK(train->count() == (labelled ? 20 : 18));  // a class has only five rows, so none is for the test
    for (std::int64_t i = 0; i < 9; ++i) {
      CHECK(train->label(i) == (labelled ? i % 4 : 0));
      const std::vector<float> x = values(*train, i);
      for (int k = 0; k < 6; ++k) CHECK(x[std::size_t(k)] == scale * (float(i) + float(k) / 8.0f));
    }
  }
  const auto test = open_source(golden("f16.npy"), Split::test);
  CHECK(test->count() == 2);
  CHECK(values(*test, 0)[0] == 9.0f);
  CHECK(values(*test, 1)[0] == 19.0f);
  const SampleBatch b = Loader(open_source(golden("f16.npy"), Split::train), {.seed = 2}).batch(5, 4);
  CHECK(b.x.shape() == Shape{4, 2, 3});
}

TEST_CASE("images are read from an npz in (h, w, c) layout with its own splits, like MedMNIST") {
  const std::string spec = golden("medmnist_like.npz") + "?x=train_images,y=train_labels,test_x=test_images,test_y=test_labels,layout=hwc";
  const auto train = open_source(spec, Split::train), test = open_source(spec, Split::test);
  CHECK(train->shape() == Shape{3, 2, 4});
  CHECK(train->dtype() == DType::u8);
  CHECK(train->count() == 6);
  CHECK(test->count() == 2);
  CHECK(test->label(0) == 1);
  CHECK(train->class_names().size() == 3);
  const std::vector<std::uint8_t> x = levels(*train, 1);
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 8; ++i) CHECK(x[std::size_t(8 * c + i)] == 24 + 3 * i + c);
  CHECK(levels(*test, 0)[0] == 5 * 24);
  CHECK(picture_size(*train, "a test").channels == 3);
  CHECK(open_dataset(spec, Split::train).pixels.size() == 6 * 24);
  CHECK(has(error_of([&] { open_source(golden("medmnist_like.npz"), Split::train); }),
            "the array of the samples is not named: write ?x=NAME; the file has train_images, train_labels, test_images, test_labels"));
  CHECK(has(error_of([&] { open_source(golden("f16.npy") + "?layout=hwc", Split::train); }), "rows are [2, 3]; layout=hwc needs [h, w, c]"));
  CHECK(open_source(golden("f16.npy") + "?layout=hw", Split::train)->shape() == Shape{1, 2, 3});
  const auto sequences = open_source(golden("f16.npy") + "?layout=lc", Split::train);                   // rows of length 2 with 3 channels
  CHECK(sequences->shape() == Shape{3, 2});
  const std::vector<float> before = values(*open_source(golden("f16.npy"), Split::train), 4), after = values(*sequences, 4);
  for (int c = 0; c < 3; ++c)
    for (int l = 0; l < 2; ++l) CHECK(after[std::size_t(2 * c + l)] == before[std::size_t(3 * l + c)]);
  CHECK(has(error_of([&] { open_source(golden("medmnist_like.npz") + "?x=train_images,layout=lc", Split::train); }), "layout=lc needs [length, channels]"));
  CHECK(has(error_of([&] { open_dataset(golden("f16.npy"), Split::train); }), "samples are f32 [2, 3]; a data set in memory needs images"));
}

TEST_CASE("labels are read from a separate file; arrays without labels have one class") {
  const TempFolder folder;
  write_npy<float>(folder / "x.npy", {4, 2}, std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7});
  write_npy<std::int64_t>(folder / "y.npy", {4}, std::vector<std::int64_t>{2, 0, 1, 2});
  write_npy<float>(folder / "long.npy", {4}, std::vector<float>{0, 1, 2, 3});
  const std::string spec = spec_of(folder / "x.npy");
  const auto plain = open_source(spec, Split::train);
  CHECK(plain->class_names() == std::vector<std::string>{"all"});
  CHECK(values(*plain, 3) == std::vector<float>{6, 7});
  CHECK(open_source(spec_of(folder / "long.npy"), Split::train)->shape() == Shape{1});
  const auto labelled = open_source(spec + "?labels=" + (folder / "y.npy").string(), Split::train);
  CHECK(labelled->label(0) == 2);
  CHECK(labelled->class_names() == std::vector<std::string>{"0", "1", "2"});
  CHECK(fingerprint(*labelled) != fingerprint(*plain));
  CHECK(has(error_of([&] { open_source(spec + "?labels=" + (folder / "long.npy").string(), Split::train); }), "labels are whole numbers of shape (N)"));
  write_npy<std::int64_t>(folder / "y.npy", {3}, std::vector<std::int64_t>{2, 0, 1});
  CHECK(has(error_of([&] { open_source(spec + "?labels=" + (folder / "y.npy").string(), Split::train); }), "3 labels for the 4 rows of"));
  write_npy<std::int64_t>(folder / "y.npy", {4}, std::vector<std::int64_t>{2, 0, -1, 3});
  CHECK(has(error_of([&] { open_source(spec + "?labels=" + (folder / "y.npy").string(), Split::train); }), "y.npy: row 2 is -1; labels are whole numbers from 0 on"));
  write_npy<std::int64_t>(folder / "y.npy", {4, 2}, std::vector<std::int64_t>(8, 0));
  CHECK(has(error_of([&] { open_source(spec + "?labels=" + (folder / "y.npy").string(), Split::train); }), "argmax(1)"));
  CHECK(has(error_of([&] { open_source(spec + "?classes=3", Split::train); }), "have no labels, so leave out classes"));
  CHECK(has(error_of([&] { open_source(spec + "?test_y=a", Split::train); }), "labels of a test split without its samples"));
  CHECK(has(error_of([&] { open_source(spec + "?x=a", Split::train); }), "only a .npz has names"));
  CHECK(has(error_of([&] { open_source(spec + "?limit=0", Split::train); }), "limit = '0' is not a whole number"));
  CHECK(has(error_of([&] { open_source(spec, Split::test); }), "none of its 4 rows is for the test"));
  write_npy<float>(folder / "other.npy", {4, 3}, std::vector<float>(12, 0.0f));
  CHECK(has(error_of([&] { open_source(spec + "?test=" + (folder / "other.npy").string(), Split::test); }), "both splits need rows of one shape and type"));
}

TEST_CASE("noise stored with the samples belongs to the same rows, only in the training split, and changes the fingerprint") {
  const TempFolder folder;
  const fs::path file = folder.path() / "pairs.npz";
  const auto write = [&](float first, std::int64_t columns) {
    std::vector<float> x, noise;
    for (int i = 0; i < 40 * 3; ++i) x.push_back(float(i));
    for (std::int64_t i = 0; i < 40 * columns; ++i) noise.push_back(first - float(i));
    NpzWriter out(file);
    out.add("x", {40, 3}, x);
    out.add("e", {40, columns}, noise);
    out.finish();
  };
  write(-1, 3);
  const std::string spec = spec_of(file) + "?noise=e";
  const auto train = open_source(spec, Split::train), test = open_source(spec, Split::test), plain = open_source(spec_of(file) + "?x=x", Split::train);
  CHECK(train->has_noise());
  CHECK(!test->has_noise());
  CHECK(!plain->has_noise());
  CHECK(train->count() == 36);
  for (const std::int64_t i : {0, 8, 9, 35}) {
    std::vector<float> noise(3);
    train->read_noise(i, noise.data());
    for (std::size_t k = 0; k < 3; ++k) CHECK(noise[k] == -1 - values(*train, i)[k]);
  }
  CHECK(has(error_of([&] { float out[3]; test->read_noise(0, out); }), "has no noise with its samples"));
  const std::string before = fingerprint(*train);
  CHECK(before != fingerprint(*plain));
  write(-2, 3);
  CHECK(fingerprint(*open_source(spec, Split::train)) != before);
  write(-1, 2);
  CHECK(has(error_of([&] { open_source(spec, Split::train); }), "noise of shape [40, 2], but the samples have shape [40, 3]"));
  CHECK(has(error_of([&] { open_source(golden("f16.npy") + "?noise=e", Split::train); }), "one array without a name"));
  const fs::path levels_file = folder.path() / "levels.npz";
  NpzWriter out(levels_file);
  out.add("x", {20, 2}, std::vector<std::uint8_t>(40, 7));
  out.add("e", {20, 2}, std::vector<float>(40, 1));
  out.finish();
  CHECK(has(error_of([&] { open_source(spec_of(levels_file) + "?noise=e", Split::train); }), "noise=e needs samples of floats"));
}

TEST_CASE("a file larger than memory is mapped, and any row is read without loading the file") {
  const TempFolder folder;
  const std::int64_t n = 1 << 20;  // n rows of n numbers: a sparse file of 4 TiB
  if (!test::room_for_file(4 * std::uint64_t(n) * std::uint64_t(n) + 4096)) {
    MESSAGE("skipped: the address space or the size of files is limited");
    return;
  }
  const std::string head = npy_header(DType::f32, {n, n});
  fm::write_atomically(folder / "large.npy", head);
  std::error_code error;
  fs::resize_file(folder / "large.npy", head.size() + 4 * std::uintmax_t(n) * std::uintmax_t(n), error);
  std::ifstream overcommit("/proc/sys/vm/overcommit_memory");
  if (int mode = 0; error || (overcommit >> mode && mode == 2)) {  // in mode 2 every mapping counts as memory
    MESSAGE("skipped: no sparse files here, or strict accounting of memory");
    return;
  }
  const auto source = open_source(spec_of(folder / "large.npy"), Split::train);
  CHECK(source->count() == n - n / 10);
  CHECK(values(*source, source->count() - 1) == std::vector<float>(std::size_t(n), 0.0f));
  CHECK(source->stamp(1) == std::optional<std::string>(""));  // the fingerprint of a large file reads only some rows
  CHECK(!source->stamp(0));
}

TEST_CASE("values that f32 cannot represent are refused with file, row and index") {
  const TempFolder folder;
  const auto error = [&](const char* file) { return error_of([&] { values(*open_source(spec_of(folder / file), Split::train), 1); }); };
  std::vector<float> x(12, 1.0f);
  x[8] = std::numeric_limits<float>::quiet_NaN();
  write_npy<float>(folder / "nan.npy", {2, 2, 3}, x);
  CHECK(error("nan.npy") == (folder / "nan.npy").string() + ": row 1 has nan at [0, 2]: remove the row or replace the value");
  CHECK(error_of([&] { values(*open_source(spec_of(folder / "nan.npy"), Split::train), 0); }) == "no error");
  x[8] = -std::numeric_limits<float>::infinity();
  write_npy<float>(folder / "inf.npy", {2, 2, 3}, x);
  CHECK(has(error("inf.npy"), "row 1 has -inf at [0, 2]"));
  write_npy<double>(folder / "large.npy", {2, 1}, std::vector<double>{1, 1e300});
  CHECK(has(error("large.npy"), "row 1 has 1e+300 at [0]: beyond the range of f32; scale the values"));
  write_npy<std::int64_t>(folder / "whole.npy", {2, 1}, std::vector<std::int64_t>{1, (1 << 24) + 1});
  CHECK(has(error("whole.npy"), "row 1 has 16777217 at [0], which f32 does not hold exactly"));
  write_npy<std::int64_t>(folder / "most.npy", {2, 1}, std::vector<std::int64_t>{1, std::numeric_limits<std::int64_t>::max()});
  CHECK(has(error("most.npy"), "which f32 does not hold exactly"));
  write_npy<std::int64_t>(folder / "fits.npy", {2, 1}, std::vector<std::int64_t>{1, 1 << 24});
  CHECK(error("fits.npy") == "no error");
  write_npy<float>(folder / "empty.npy", {0, 3}, std::vector<float>{});
  CHECK(has(error("empty.npy"), "the array of shape [0, 3] is empty"));
  CHECK(has(error_of([&] { open_source("arrays:/nowhere.npy", Split::train); }), "/nowhere.npy"));
  CHECK(has(error_of([] { open_source("arrays", Split::train); }), "write arrays:FILE.npy"));
}

TEST_CASE("the index of a bad value has as many numbers as the rows have dimensions") {
  const TempFolder folder;
  std::vector<float> x(2 * 2 * 3 * 4, 0.0f);
  x[24 + 12 * 1 + 4 * 2 + 3] = std::numeric_limits<float>::infinity();
  write_npy<float>(folder / "x.npy", {2, 2, 3, 4}, x);
  CHECK(has(error_of([&] { values(*open_source(spec_of(folder / "x.npy"), Split::train), 1); }), "row 1 has inf at [1, 2, 3]:"));
  write_npy<float>(folder / "x.npy", {2}, std::vector<float>{0, std::numeric_limits<float>::infinity()});
  CHECK(has(error_of([&] { values(*open_source(spec_of(folder / "x.npy"), Split::train), 1); }), "row 1 has inf: "));
  x.assign(6, 0.0f), x[1] = x[2] = std::numeric_limits<float>::quiet_NaN();                     // the error names the first of two
  write_npy<float>(folder / "x.npy", {2, 3}, x);
  CHECK(has(error_of([&] { values(*open_source(spec_of(folder / "x.npy"), Split::train), 0); }), "row 0 has nan at [1]:"));
}

TEST_CASE("arrays of a damaged npz are refused; a file counts as npz by its first bytes if it has at least four") {
  const TempFolder folder;
  const auto check = [&](const char* name, const char* query, std::size_t place) {
    CAPTURE(name);
    std::string bytes = read_file(fs::path(FM_TESTS_FOLDER) / "golden/data" / name);
    const auto open = [&](const char* asked) {
      write_atomically(folder / "a.npz", bytes);
      return error_of([&] { open_source(spec_of(folder / "a.npz") + asked, Split::train); });
    };
    CHECK(open(query) == "no error");
    CHECK(has(open("?x=nothing"), "no array \"nothing\"; the file has "));
    bytes[place] ^= 1;                                                                          // a byte of the samples' values
    CHECK_MESSAGE(has(open(query), "a.npz"), open(query));
  };
  check("medmnist_like.npz", "?x=train_images,y=train_labels,layout=hwc", 200);                 // a deflated file
  check("i16.npz", "", 220);                                                                    // a stored file
  for (const char* text : {"PK", "PKx", "", "xPKx", "PKxx"}) {
    write_atomically(folder / "short", text);
    CHECK(is_npz((folder / "short").string()) == (std::string(text) == "PKxx"));
  }
}
