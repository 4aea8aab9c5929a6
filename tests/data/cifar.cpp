// CIFAR's binary files: synthetic ones in the documented layout, and damaged ones. The files have their full size, but are sparse: records that are not
// written are zeros, with label 0.
#include "data/cifar.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "data/kinds.h"
#include "data/source.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

struct Record {
  std::int64_t number;
  std::string labels;                            // label bytes of the record
  std::uint8_t first;                            // value of the first pixel; each following pixel is larger by 7
};

std::uint8_t level(std::uint8_t first, std::int64_t pixel) { return static_cast<std::uint8_t>(first + 7 * pixel); }

void write_file(const fs::path& path, std::int64_t count, const std::vector<Record>& records) {
  const std::int64_t size = 3072 + std::ssize(records.front().labels);
  std::ofstream out(path, std::ios::binary);
  for (const Record& r : records) {
    std::string bytes = r.labels;
    for (std::int64_t p = 0; p < 3072; ++p) bytes += static_cast<char>(level(r.first, p));
    out.seekp(r.number * size).write(bytes.data(), size);
  }
  out.close();
  fs::resize_file(path, static_cast<std::uintmax_t>(count * size));
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string label(int n) { return {static_cast<char>(n)}; }

// In batch b, record 0 has label b and begins with level b; the last one has label 10 - b and level 100 + b.
void write_cifar10(const fs::path& folder) {
  for (int b = 1; b <= 5; ++b)
    write_file(folder / ("data_batch_" + std::to_string(b) + ".bin"), 10000, {{0, label(b), std::uint8_t(b)}, {9999, label(10 - b), std::uint8_t(100 + b)}});
  write_file(folder / "test_batch.bin", 10000, {{3, label(9), 50}});
  write_text(folder / "batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

std::string spec_of(const std::string& kind, const TempFolder& folder, const std::string& keys = "") { return kind + ":" + folder.path().string() + keys; }

std::string error(const std::string& spec, Split split = Split::train) {
  return error_of([&] { open_source(spec, split); });
}

}  // namespace

TEST_CASE("CIFAR-10: images, labels and class names come from five training files in order and one test file") {
  const TempFolder folder;
  write_cifar10(folder.path());
  const std::string spec = spec_of("cifar10", folder);
  const Dataset train = open_dataset(spec, Split::train), test = open_dataset(spec, Split::test);
  CHECK(train.count == 50000);
  CHECK(test.count == 10000);
  CHECK(train.labels.size() == 50000);
  CHECK(std::int64_t(train.pixels.size()) == 50000 * train.sample_size());
  for (int b = 1; b <= 5; ++b)
    for (const bool last : {false, true}) {
      const std::int64_t i = (b - 1) * 10000 + (last ? 9999 : 0);
      CHECK(train.labels[std::size_t(i)] == (last ? 10 - b : b));
      for (const std::int64_t pixel : {0, 1, 31, 32, 1023, 1024, 2048, 3071}) CHECK(train.sample(i)[pixel] == level(std::uint8_t(last ? 100 + b : b), pixel));
    }
  CHECK(train.labels[1] == 0);
  CHECK(train.sample(1)[0] == 0);
  CHECK(test.labels[3] == 9);
  CHECK(test.class_names == train.class_names);
  CHECK(train.class_names[9] == "truck");
  CHECK(class_names_of(spec) == train.class_names);
  CHECK(train.image(0).at(31, 0)[1] == level(1, 1024 + 31));                 // the green value of the last pixel of the first row

  const auto source = open_source(spec_of("cifar10", folder, "?limit=10001"), Split::train);
  CHECK(source->count() == 10001);
  CHECK(source->label(10000) == 2);
  CHECK(source->shape() == Shape{3, 32, 32});
  const PictureSize size = picture_size(*source, "the test");
  CHECK(size.channels == 3);
}

TEST_CASE("CIFAR-100 has fine or coarse labels") {
  const TempFolder folder;
  write_file(folder / "train.bin", 50000, {{0, {19, 99}, 5}, {49999, {3, 70}, 6}});
  write_file(folder / "test.bin", 10000, {{7, {1, 2}, 8}});
  std::string fine, coarse;
  for (int i = 0; i < 100; ++i) fine += "fine" + std::to_string(i) + "\n";
  for (int i = 0; i < 20; ++i) coarse += "coarse" + std::to_string(i) + "\r\n";
  write_text(folder / "fine_label_names.txt", fine);
  write_text(folder / "coarse_label_names.txt", coarse);
  const Dataset a = open_dataset(spec_of("cifar100", folder), Split::train);
  CHECK(a.count == 50000);
  CHECK(a.labels[0] == 99);
  CHECK(a.labels[49999] == 70);
  CHECK(a.sample(49999)[3071] == level(6, 3071));
  CHECK(a.class_names[99] == "fine99");
  const std::string spec = spec_of("cifar100", folder, "?labels=coarse");
  const Dataset b = open_dataset(spec, Split::test);
  CHECK(b.labels[7] == 1);
  CHECK(b.sample(7)[0] == 8);
  CHECK(b.class_names[19] == "coarse19");
  CHECK(class_names_of(spec) == b.class_names);
  CHECK(has(error(spec_of("cifar100", folder, "?labels=both")), "labels"));
}

TEST_CASE("files that are missing, of the wrong size, or with a label without a name are refused with the file's name") {
  const TempFolder folder;
  write_cifar10(folder.path());
  const std::string spec = spec_of("cifar10", folder);
  const fs::path third = folder / "data_batch_3.bin";
  CHECK(has(error("cifar10"), "cifar10:FOLDER"));
  for (const std::int64_t size : {std::int64_t(0), std::int64_t(3073), std::int64_t(30729999), std::int64_t(30730001), std::int64_t(30733073)}) {
    fs::resize_file(third, static_cast<std::uintmax_t>(size));
    const std::string said = error(spec);
    CHECK(has(said, third.string() + ": " + std::to_string(size) + " bytes, but 10000 records of 3073 bytes are 30730000"));
    CHECK(has(said, "unpack cifar-10-binary.tar.gz again"));
  }
  CHECK(open_dataset(spec_of("cifar10", folder, "?limit=20000"), Split::train).count == 20000);        // 20,000 samples do not need the damaged third file
  write_file(third, 10000, {{17, label(10), 0}});
  CHECK(has(error(spec), third.string() + ": record 17 has label 10, but there are 10 classes"));
  write_file(third, 10000, {{9999, "\xff", 0}});
  CHECK(has(error(spec), "record 9999 has label 255"));
  fs::remove(third);
  CHECK(has(error(spec), third.string() + ": no such file; unpack cifar-10-binary.tar.gz and give its folder: cifar10:PATH/cifar-10-batches-bin"));
  write_text(folder / "data_batch_3", "\x80\x02}");
  CHECK(has(error(spec), "no such file, but data_batch_3 of the version for Python exists"));
  CHECK(error(spec, Split::test) == "no error");
  write_text(folder / "batches.meta.txt", "airplane\nautomobile\n");
  CHECK(has(error(spec, Split::test), "batches.meta.txt"));
  fs::remove(folder / "batches.meta.txt");
  CHECK(has(error(spec, Split::test), "batches.meta.txt: no such file; unpack"));
}
