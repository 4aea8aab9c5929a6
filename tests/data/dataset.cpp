// Data sets: Fashion-MNIST (the real files if installed, and synthetic ones), procedural shapes, folders of images.
#include "data/dataset.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "data/image_folder.h"
#include "data/png.h"
#include "data/shapes.h"
#include "data/source.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;
namespace fs = std::filesystem;

namespace {

void write_gzip(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, bytes.data(), unsigned(bytes.size())) == int(bytes.size()));
  gzclose(file);
}

void write_bytes(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// Writes three 2x2 images with the pixels 0..11 and the labels 7, 0, 9.
void write_small_fashion(const fs::path& folder) {
  std::vector<std::uint8_t> images = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2};
  for (int i = 0; i < 12; ++i) images.push_back(std::uint8_t(i));
  write_gzip(folder / "train-images-idx3-ubyte.gz", images);
  write_gzip(folder / "train-labels-idx1-ubyte.gz", {0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9});
}

}  // namespace

TEST_CASE("gzip-compressed IDX files are read as a data set") {
  TempFolder folder;
  write_small_fashion(folder.path());
  const Dataset d = load_fashion_mnist(Split::train, folder.path());
  CHECK(d.count == 3);
  CHECK(d.height == 2);
  CHECK(d.labels == std::vector<std::int32_t>{7, 0, 9});
  CHECK(d.class_names[7] == "Sneaker");
  CHECK(d.sample(1)[2] == 6);
  const Dataset wide = padded(d, 5);
  CHECK(wide.sample(2)[1 * 5 + 1] == 8);
  CHECK(wide.sample(2)[2 * 5 + 2] == 11);
  CHECK(wide.sample(2)[0] == 0);
  CHECK(first_samples(d, 2).labels.size() == 2);
}

TEST_CASE("missing and damaged files are reported with their name and a reason") {
  TempFolder folder;
  write_small_fashion(folder.path());
  const fs::path images = folder / "train-images-idx3-ubyte.gz", labels = folder / "train-labels-idx1-ubyte.gz";
  const auto load = [&] { load_fashion_mnist(Split::train, folder.path()); };
  const std::string missing = error_of([&] { load_fashion_mnist(Split::test, folder.path()); });
  CHECK(has(missing, "t10k-images-idx3-ubyte.gz: no such file; `apt-get install dataset-fashion-mnist`"));
  CHECK(has(missing, "--data shapes"));

  const std::string good = read_file(images);
  write_bytes(images, good.substr(0, good.size() - 6));
  CHECK(has(error_of(load), "corrupt gzip data"));
  std::string wrong_crc = good;
  wrong_crc[good.size() - 6] ^= 1;
  write_bytes(images, wrong_crc);
  CHECK(has(error_of(load), "corrupt gzip data"));
  write_bytes(images, "hello");
  CHECK(has(error_of(load), "not an IDX file of unsigned bytes with 3 dimensions"));
  write_gzip(images, {0, 0, 8, 3, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  CHECK(has(error_of(load), "has 0 values"));

  write_bytes(images, good);
  write_gzip(labels, {0, 0, 8, 1, 0, 0, 0, 2, 7, 0});
  CHECK(has(error_of(load), "3 images but 2 labels"));
  write_gzip(labels, {0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 10});
  CHECK(has(error_of(load), "label 10 is above 9"));
}

TEST_CASE("the real Fashion-MNIST, if installed, has the expected images and labels") {
  Dataset d;
  try {
    d = open_dataset("fashion-mnist?size=32,limit=1000", Split::test);
  } catch (const FileError& e) {
    MESSAGE("skipped: " << e.what());
    return;
  }
  CHECK(d.count == 1000);
  CHECK(d.width == 32);
  CHECK(d.labels[0] == 9);  // the first test image is an ankle boot
  const Dataset train = open_dataset("fashion-mnist", Split::train);
  CHECK(train.count == 60000);
  std::vector<int> histogram(10);
  for (auto l : train.labels) ++histogram[std::size_t(l)];
  CHECK(histogram == std::vector<int>(10, 6000));
}

TEST_CASE("shapes depend only on seed, split and index") {
  const Dataset d = open_dataset("shapes?count=40,size=32,seed=5", Split::train);
  CHECK(d.count == 40);
  CHECK(d.channels == 3);
  CHECK(d.class_names.size() == 10);
  std::vector<std::uint8_t> one(std::size_t(d.sample_size()));
  draw_shape({7, 32, 3, 5}, Split::train, 33, one.data());  // sample 33 alone, with another count
  CHECK(std::equal(one.begin(), one.end(), d.sample(33)));
  CHECK(d.labels[33] == 3);
  draw_shape({7, 32, 3, 6}, Split::train, 33, one.data());
  CHECK(!std::equal(one.begin(), one.end(), d.sample(33)));
  draw_shape({7, 32, 3, 5}, Split::test, 33, one.data());
  CHECK(!std::equal(one.begin(), one.end(), d.sample(33)));
  // Known checksums, which are the same on every machine.
  CHECK(crc32(0, d.pixels.data(), uInt(d.pixels.size())) == 3024622796u);
  const Dataset grey = open_dataset("shapes?count=40,channels=1", Split::train);
  CHECK(crc32(0, grey.pixels.data(), uInt(grey.pixels.size())) == 3284589691u);
}

TEST_CASE("every shape contrasts with its background and has smooth edges") {
  const Dataset d = open_dataset("shapes?count=200,channels=1", Split::train);
  for (std::int64_t i = 0; i < d.count; ++i) {
    const std::set<int> levels(d.sample(i), d.sample(i) + d.sample_size());
    CHECK(*levels.rbegin() - *levels.begin() >= 100);
    CHECK(levels.size() >= 3);
    CHECK(levels.size() <= 17);
  }
}

TEST_CASE("a folder with one folder per class is read as a data set") {
  TempFolder folder;
  for (const char* name : {"b", "a"}) {
    fs::create_directory(folder / name);
    for (int i = 0; i < 20; ++i) {
      const Image image = blank_image(24, 12, 3, std::uint8_t(i + (name[0] == 'a' ? 100 : 0)));
      write_png(folder / name / (std::string(1, char('a' + i)) + ".png"), image);
    }
  }
  write_bytes(folder / "a" / "notes.txt", "not an image");
  const std::string spec = "folder:" + folder.path().string();
  const Dataset train = open_dataset(spec + "?size=8,channels=1", Split::train);
  CHECK(train.class_names == std::vector<std::string>{"a", "b"});
  CHECK(train.count == 36);  // every tenth file of a class is for the test
  CHECK(train.width == 8);
  CHECK(train.sample(0)[5] == 100);
  CHECK(train.labels[0] == 0);
  CHECK(train.labels[35] == 1);
  const Dataset test = open_dataset(spec + "?size=8", Split::test);
  CHECK(test.count == 4);
  CHECK(test.channels == 3);
  CHECK(test.sample(0)[0] == 109);
  CHECK(open_dataset(spec + "?size=8,limit=3", Split::train).count == 6);

  write_bytes(folder / "b" / "c.png", "broken");
  write_bytes(folder / "a" / "d.jpg", "");
  const std::string error = error_of([&] { open_dataset(spec + "?size=8", Split::train); });
  CHECK(has(error, "2 of 37 images cannot be read"));
  CHECK(has(error, "c.png: neither a PNG, a JPEG nor a WebP file"));
  CHECK(has(error, "d.jpg: empty file"));
}

TEST_CASE("folders named train and test are the splits") {
  TempFolder folder;
  for (const char* name : {"train/x", "test/x"}) fs::create_directories(folder / name);
  write_png(folder / "train/x/1.png", blank_image(4, 4, 1, 1));
  write_png(folder / "test/x/1.png", blank_image(4, 4, 1, 2));
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::train).pixels[0] == 1);
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::test).pixels[0] == 2);
  const ImageFolder lazy(folder.path(), {2, 3, 0}, Split::test);
  std::vector<std::uint8_t> planes(12);
  lazy.read(0, {}, planes.data());
  CHECK(planes == std::vector<std::uint8_t>(12, 2));
}

TEST_CASE("a test split without some classes keeps the labels of the training split; an unknown class is an error") {
  TempFolder folder;
  for (const char* name : {"train/a", "train/b", "train/c", "val/c"}) fs::create_directories(folder / name);
  for (const char* name : {"train/a", "train/b", "train/c"}) write_png(folder / name / "1.png", blank_image(4, 4, 1, 1));
  write_png(folder / "val/c/1.png", blank_image(4, 4, 1, 2));
  const Dataset test = load_image_folder(folder.path(), {4, 1, 0}, Split::test);
  CHECK(test.labels == std::vector<std::int32_t>{2});
  CHECK(test.class_names == std::vector<std::string>{"a", "b", "c"});
  fs::create_directory(folder / "val/bb");                            // an empty folder, perhaps of a file server or for a future class
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::test).count == 1);
  write_png(folder / "val/bb/1.png", blank_image(4, 4, 1, 2));
  CHECK(has(error_of([&] { load_image_folder(folder.path(), {4, 1, 0}, Split::test); }), "val/bb: not a class of the training split"));
  fs::remove_all(folder / "val");
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::train).count == 3);
  CHECK(has(error_of([&] { load_image_folder(folder.path(), {4, 1, 0}, Split::test); }), "neither test/ nor val/"));
}

TEST_CASE("folders without images are no classes; notes list skipped folders and files") {
  TempFolder folder;
  for (const char* name : {"train/apple", "train/berry", "train/__pycache__", "train/@eaDir", "train/.hidden", "train/deep/er", "test/apple", "test/@eaDir"})
    fs::create_directories(folder / name);
  for (const char* name : {"train/apple/1.png", "train/apple/2.PNG", "train/berry/1.png", "test/apple/1.png", "train/loose.png"})
    write_png(folder / name, blank_image(4, 4, 1, 1));
  for (const char* name : {"train/__pycache__/a.pyc", "train/apple/3.avif", "train/apple/4.AVIF", "train/apple/labels.txt", "train/apple/Thumbs.db",
                           "train/apple/.DS_Store"})
    write_bytes(folder / name, "x");
  const auto notes = [&](Split split) { return ImageFolder(folder.path(), {4, 1, 0}, split).notes(); };
  const std::string train = (folder / "train").string(), test = (folder / "test").string();
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::train).class_names == std::vector<std::string>{"apple", "berry"});
  CHECK(notes(Split::train) ==
        std::vector<std::string>{
            train + ": folders without images are left out: @eaDir, __pycache__ (1 .pyc), deep (1 folder); 2 classes and 3 images remain",
            train + ": only " + readable_endings() + " are read; skipped: apple 2 .avif, 1 .txt",
            train + ": 1 image outside the class folders: skipped"});
  CHECK(notes(Split::test) == std::vector<std::string>{test + ": folders without images are left out: @eaDir; 2 classes and 1 images remain",
                                                       test + ": no images of 1 of 2 classes: berry"});
  CHECK(load_image_folder(folder.path(), {4, 1, 0}, Split::train).notes == notes(Split::train));
  CHECK(as_source(std::make_shared<const Dataset>(load_image_folder(folder.path(), {4, 1, 0}, Split::train)))->notes().size() == 3);

  for (const char* ending : {"webp", "heic", "tiff", "gif"}) {            // without an error this class would be missing
    CAPTURE(ending);
    if (is_readable_picture(std::string(".") + ending)) continue;         // WebP in a build with libwebp
    TempFolder other;
    for (const char* name : {"a", "b"}) fs::create_directory(other / name);
    write_png(other / "a/1.png", blank_image(4, 4, 1, 1));
    for (const char* name : {"b/1.", "b/2."}) write_bytes(other / (std::string(name) + ending), "x");
    const std::string error = error_of([&] { ImageFolder(other.path(), {4, 1, 0}, Split::train); });
    CHECK_MESSAGE(has(error, std::string("no image of b (2 .") + ending + ") can be read: convert them to .png or .jpg"), error);
  }
  // A class that exists only in the test split.
  write_png(folder / "test/@eaDir/1.png", blank_image(4, 4, 1, 1));
  CHECK(has(error_of([&] { notes(Split::test); }), "test/@eaDir: not a class of the training split, "));
}

TEST_CASE("wrong specifications are refused, and the error names the wrong part") {
  const auto error = [](const char* spec) { return error_of([&] { open_dataset(spec, Split::train); }); };
  CHECK(has(error("mnist"), "unknown data set 'mnist'; there are fashion-mnist[:FOLDER], shapes, sines, folder:PATH?size=N, zip:FILE.zip?size=N, tar:"));
  CHECK(has(error("shapes?colour=1"), "shapes has no option 'colour'; options: count, size, channels, seed"));
  CHECK(has(error("shapes?size=two"), "size = 'two' is not a whole number in [8, 1024]"));
  CHECK(has(error("shapes?size"), "'size' after '?' is not key=value"));
  CHECK(has(error("shapes?channels=2"), "channels 2"));
  CHECK(has(error("shapes:here"), "takes no path"));
  CHECK(has(error("shapes?count=4294967296,size=1024"), "shapes: 4294967296 images take 12582912.0 GiB in memory, "));
  CHECK(has(error("folder:/nowhere?size=8,crop=left"), "crop = 'left' is not one of center, random"));
  CHECK(has(error("folder:/nowhere?size=8,crop=random"), "leave crop=random out"));
  CHECK(has(error("folder:/nowhere"), "the size of the images is missing"));
  CHECK(has(error("folder:/nowhere?size=8"), "/nowhere: no such folder"));
  CHECK(has(error("folder"), "write folder:PATH?size=N"));
}
