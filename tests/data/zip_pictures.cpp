// Zip files and folders with a dataset.json, as EDM2's and StyleGAN's tools write them; hostile files; WebP.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "data/dataset_json.h"
#include "data/image_file.h"
#include "data/png.h"
#include "data/zip_pictures.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

std::string png(int value) {
  const std::vector<std::uint8_t> bytes = encode_png(blank_image(4, 4, 1, std::uint8_t(value)));
  return {bytes.begin(), bytes.end()};
}

int grey(const SampleSource& source, std::int64_t i) {
  std::vector<std::uint8_t> planes(std::size_t(source.shape().numel()));
  source.read(i, {}, planes.data());
  return planes[0];
}

const std::string null_labels = "{\"labels\": null}";

std::string zip_error(const TempFolder& folder, const std::vector<Member>& members, const Spoil& spoil = {}) {
  write_bytes(folder / "z.zip", zip_of(members, spoil));
  return error_of([&] {
    const auto source = open_source("zip:" + (folder / "z.zip").string() + "?size=4", Split::train);
    grey(*source, 0);
  });
}

std::string json_error(const std::string& text) {
  const std::vector<std::string> names{"a.png", "b.png", "c.png"};
  return error_of([&] { read_dataset_json(text, "j", 3, [&](std::int64_t i) { return std::string_view(names[std::size_t(i)]); }); });
}

}  // namespace

TEST_CASE("a zip file with EDM2's dataset.json gives the same samples as the unpacked folder") {
  const TempFolder folder;
  const fs::path zip = fs::path(FM_TESTS_FOLDER) / "golden/data/edm.zip";
  for (const Member& m : members_of(zip)) {
    fs::create_directories((folder / m.name).parent_path());
    write_bytes(folder / m.name, m.bytes);
  }
  std::vector<std::string> specs{"zip:" + zip.string(), "folder:" + folder.path().string()};
  for (const std::string& spec : specs) {
    CAPTURE(spec);
    const auto train = open_source(spec + "?size=4", Split::train);
    REQUIRE(train->count() == 12);  // a class has only four images, so none is for the test
    for (int i = 0; i < 12; ++i) {
      CHECK(grey(*train, i) == i);
      CHECK(train->label(i) == i % 3);
    }
    CHECK(train->class_names() == std::vector<std::string>{"0", "1", "2"});
    CHECK(class_names_of(spec + "?size=4") == train->class_names());
    CHECK(has(error_of([&] { open_source(spec + "?size=4", Split::test); }), "no images for the test (every tenth of a class"));
    CHECK(open_source(spec + "?size=4,test=" + spec.substr(spec.find(':') + 1), Split::test)->count() == 12);
    CHECK(open_source(spec + "?size=4,classes=1000", Split::train)->class_names().size() == 1000);
    CHECK(open_source(spec + "?size=4,class_names=imagenet", Split::train)->class_names()[2].starts_with("n01484850 great white shark"));
    CHECK(has(error_of([&] { open_source(spec + "?size=4,classes=2", Split::train); }), "label 2, but there are 2 classes"));
    CHECK(open_dataset(spec + "?size=4,channels=1", Split::train).pixels[16 * 7] == 7);
  }
  CHECK(fingerprint(*open_source(specs[0] + "?size=4", Split::train)) == fingerprint(*open_source(specs[0] + "?size=4", Split::train)));
  CHECK(has(error_of([] { open_source("folder:/nowhere?size=4,classes=3", Split::train); }), "classes is for folders with a dataset.json"));
}

TEST_CASE("train and val folders are read with a dataset.json each, which may contain class names") {
  const TempFolder folder;
  for (const char* split : {"train", "val"}) {
    fs::create_directories(folder / split / "00000");
    for (int i = 0; i < 3; ++i) write_bytes(folder / split / "00000" / (std::to_string(i) + ".png"), png(i + (split[0] == 'v' ? 100 : 0)));
    write_bytes(folder / split / "dataset.json",
                "{\"class_names\": [\"cat\", \"dog\"], \"labels\": [[\"00000/2.png\", 1], [\"00000/0.png\", 0], [\"00000/1.png\", 1], [\"gone.png\", 0]]}");
  }
  const std::string spec = "folder:" + folder.path().string() + "?size=4";
  const auto train = open_source(spec, Split::train), test = open_source(spec, Split::test);
  CHECK(grey(*train, 2) == 2);
  CHECK(grey(*test, 2) == 102);
  CHECK(train->label(0) == 0);
  CHECK(train->label(1) == 1);
  CHECK(train->class_names() == std::vector<std::string>{"cat", "dog"});
  CHECK(class_names_of(spec) == train->class_names());
  REQUIRE(train->notes().size() == 1);
  CHECK(has(train->notes()[0], "1 labels of missing images, the first is \"gone.png\""));
}

TEST_CASE("malformed zip files are refused with file and member") {
  const TempFolder folder;
  const std::vector<Member> good{{"a.png", png(1)}, {"b.png", png(2)}, {"dataset.json", null_labels}};
  CHECK(zip_error(folder, good) == "no error");
  CHECK(has(zip_error(folder, {good[0]}), "no dataset.json with the labels at the top"));
  CHECK(has(zip_error(folder, {good[2]}), "no images: files of .png"));
  CHECK(has(zip_error(folder, {good[0], {"x/dataset.json", null_labels}}), "\"x/dataset.json\" must lie at the top"));
  CHECK(has(zip_error(folder, {good[0], {"b.png", png(2), true}, good[2]}), "\"b.png\" is compressed (method 8)"));
  CHECK(has(zip_error(folder, {good[0], good[0], good[2]}), "two members are named \"a.png\""));
  CHECK(has(zip_error(folder, {good[0], good[2], good[2]}), "two members are named \"dataset.json\""));
  CHECK(has(zip_error(folder, {good[0], {"b.heic", "x"}, good[2]}), "1 images are of formats that this build does not read, the first is \"b.heic\""));
  const auto spoiled = [&](const std::function<void(Entry&)>& f) { return zip_error(folder, good, [&](std::vector<Entry>& e) { f(e[0]); }); };
  CHECK(has(spoiled([](Entry& e) { e.flags = 1; }), "\"a.png\" is encrypted"));
  CHECK(has(spoiled([](Entry& e) { e.crc ^= 1; }), "checksum of member \"a.png\" is wrong"));
  CHECK(has(spoiled([](Entry& e) { e.size = e.compressed = 0xfffffff0; }), "\"a.png\" has 4294967280 bytes; at most 1073741824 are read"));
  CHECK(has(spoiled([](Entry& e) { e.size = e.compressed = 1 << 20; }), "\"a.png\" of 1048576 bytes lies outside the file"));
  CHECK(has(spoiled([](Entry& e) { e.size += 9; }), "stored member \"a.png\" has"));
  CHECK(has(spoiled([](Entry& e) { e.size = e.compressed += 9; }), "members overlap"));
  CHECK(has(zip_error(folder, good, [](std::vector<Entry>& e) { e[1].header = e[0].header; }), "members overlap"));
  CHECK(has(spoiled([](Entry& e) { e.header += 2, e.size = e.compressed = 3; }), "\"a.png\" is not at the place that the directory names"));
  CHECK(has(zip_error(folder, {good[0], good[1], {"dataset.json", "{\"labels\": [[\"a.png\", 0]]}"}}),
            "dataset.json: no label for 1 of 2 images, the first is \"b.png\""));
  const std::string whole = zip_of(good);
  for (std::size_t cut : {std::size_t(0), std::size_t(20), whole.size() / 2, whole.size() - 1}) {
    write_bytes(folder / "cut.zip", whole.substr(0, cut));
    CHECK_MESSAGE(has(error_of([&] { zip_store(folder / "cut.zip"); }), "cut.zip: not a zip file, or its end is cut off"), cut);
  }
}

TEST_CASE("40,000 images, more than one read, have their labels for any order of directory and dataset.json") {
  const TempFolder folder;
  constexpr int count = 40'000;
  const auto name = [](int i) { return "folder/img" + std::to_string(100'000 + i) + ".png"; };
  std::vector<std::string> pictures;
  for (int value = 0; value < 251; ++value) pictures.push_back(png(value));
  for (const bool in_order : {true, false}) {
    CAPTURE(in_order);
    std::vector<Member> members;
    std::string json;
    for (int i = 0; i < count; ++i) {
      const int written = in_order ? i : i * 7 % count, labelled = in_order ? i : count - 1 - i;
      members.push_back({name(written), pictures[std::size_t(written % 251)]});
      json += (i ? ", [\"" : "[\"") + name(labelled) + "\", " + std::to_string(labelled % 10) + "]";
    }
    REQUIRE(json.size() > std::size_t{1} << 20);
    members.push_back({"dataset.json", "{\"labels\": [" + json + "]}"});
    write_bytes(folder / "many.zip", zip_of(members));
    const auto store = zip_store(folder / "many.zip");
    REQUIRE(store->count() == count);
    for (int i = 0; i < count; ++i) REQUIRE(store->label(i) == i % 10);
    for (int i = 0; i < count; i += 1999) {
      CHECK(store->bytes(i) == pictures[std::size_t(i % 251)]);
      CHECK(has(store->member(i), name(i)));
    }
  }
  CHECK(has(zip_error(folder, {{"a.png", png(1)}, {"dataset.json", null_labels}}, [](std::vector<Entry>& e) { e[1].crc ^= 1; }),
            "checksum of member \"dataset.json\" is wrong"));
}

TEST_CASE("every malformed dataset.json is refused with the reason") {
  CHECK(json_error("{\"labels\": [[\"a.png\", 1], [\"b.png\", 0], [\"c.png\", 7]], \"other\": [1, {\"x\": [null]}]}") == "no error");
  CHECK(json_error("{\"labels\": null, \"class_names\": null}") == "no error");
  CHECK(has(json_error(""), "j: not JSON: "));
  CHECK(has(json_error("{\"labels\": [[\"a.png\", 1], "), "j: not JSON: "));
  CHECK(mentions(json_error("[1]"), {"j", "object", "\"labels\""}));
  CHECK(mentions(json_error("{}"), {"j", "\"labels\"", "{\"labels\""}));
  CHECK(mentions(json_error("{\"labels\": 3}"), {"j", "\"labels\"", "3"}));
  CHECK(mentions(json_error("{\"labels\": {\"a.png\": 3}}"), {"j", "\"labels\"", "object"}));
  CHECK(mentions(json_error("{\"labels\": [3]}"), {"j", "\"labels\"", "3", "[name, label]"}));
  CHECK(mentions(json_error("{\"labels\": [[3, \"a.png\"]]}"), {"j", "\"labels\"", "3", "[name, label]"}));
  const std::string must = "; it must be one whole number in [0, 10000000]";
  CHECK(json_error("{\"labels\": [[\"a.png\", [0, 1]]]}") == "j: the label of \"a.png\" is a list" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", 1.5]]}") == "j: the label of \"a.png\" is 1.5" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", -1]]}") == "j: the label of \"a.png\" is -1" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", 10000001]]}") == "j: the label of \"a.png\" is 10000001" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", 18446744073709551615]]}") == "j: the label of \"a.png\" is 18446744073709551615" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", null]]}") == "j: the label of \"a.png\" is null" + must);
  CHECK(json_error("{\"labels\": [[\"a.png\", 1, 2]]}") == "j: the label of \"a.png\" is 2" + must);
  CHECK(mentions(json_error("{\"labels\": [[\"a.png\"]]}"), {"j", "\"a.png\"", "before"}));
  CHECK(mentions(json_error("{\"labels\": [[\"a.png\", 1], [\"a.png\", 1]]}"), {"j", "\"a.png\"", "twice"}));
  CHECK(mentions(json_error("{\"labels\": null, \"labels\": null}"), {"j", "\"labels\"", "occurs"}));
  CHECK(mentions(json_error("{\"labels\": null, \"class_names\": [1]}"), {"j", "class name 0", "text"}));
}

TEST_CASE("WebP files decode to Pillow's pixels; a build without libwebp reports that") {
  std::ifstream in(fs::path(FM_TESTS_FOLDER) / "golden/pillow_webp.txt");
  std::string kind, file, hex;
  int width, height, channels, n = 0;
  const auto bytes_of = [](const std::string& text) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) bytes.push_back(std::uint8_t(std::stoi(text.substr(i, 2), nullptr, 16)));
    return bytes;
  };
  for (; in >> kind >> width >> height >> channels >> file >> hex; ++n) {
    CAPTURE(kind);
    std::vector<std::uint8_t> bytes = bytes_of(file);
    if (!reads_webp()) {
      CHECK(has(error_of([&] { decode_image(bytes, "a.webp", 3); }), "a.webp: a WebP file, and this build is without libwebp"));
      continue;
    }
    const Image image = decode_image(bytes, "a.webp", 3);
    CHECK(image.width == width);
    CHECK(image.height == height);
    CHECK(image.pixels == bytes_of(hex));
    for (std::size_t cut = 13; cut < bytes.size(); cut += 7)
      CHECK(has(error_of([&] { decode_image({bytes.data(), cut}, "a.webp", 3); }), "a.webp: truncated WebP"));
    std::fill(bytes.begin() + 20, bytes.begin() + 30, 0xff);  // the header of the image inside
    CHECK(has(error_of([&] { decode_image(bytes, "a.webp", 3); }), "WebP"));
  }
  CHECK(n == 3);
}
