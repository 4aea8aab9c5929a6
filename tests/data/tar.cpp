// Shards of WebDataset: files from Python's tarfile, hostile files, names with braces, the index, and the order of samples.
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <optional>

#include "data/loader.h"
#include "data/png.h"
#include "data/tar.h"
#include "data/tar_index.h"
#include "data/tar_shards.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/error_of.h"
#include "tests/support/tar_bytes.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

std::string png(int value) {
  const std::vector<std::uint8_t> bytes = encode_png(blank_image(4, 4, 1, std::uint8_t(value)));
  return {bytes.begin(), bytes.end()};
}

std::string key(int i) { return fmt::format("{:04}", i); }

// A shard with the samples i = first ... first + n - 1: images of grey level i with the label i % 2.
std::string shard_of(int first, int n) {
  std::vector<TarEntry> entries;
  for (int i = first; i < first + n; ++i) entries.push_back({key(i) + ".png", png(i)}), entries.push_back({key(i) + ".cls", std::to_string(i % 2)});
  return tar_of(entries);
}

std::vector<int> greys(const SampleSource& source) {
  std::vector<int> values;
  std::vector<std::uint8_t> planes(std::size_t(source.shape().numel()));
  for (std::int64_t i = 0; i < source.count(); ++i) source.read(i, {}, planes.data()), values.push_back(planes[0]);
  return values;
}

std::string scan_error(const TempFolder& folder, const std::string& bytes) {
  write_atomically(folder / "s.tar", bytes);
  const std::string error = error_of([&] { scan_tar(folder / "s.tar"); });
  CHECK_MESSAGE((error == "no error" || has(error, (folder / "s.tar").string())), error);
  return error;
}

}  // namespace

TEST_CASE("shards of Python's tarfile are read, with plain headers, pax headers and GNU's long names") {
  const TempFolder folder;
  for (const char* kind : {"ustar", "pax", "gnu"}) {
    CAPTURE(kind);
    const fs::path from = fs::path(FM_TESTS_FOLDER) / "golden/data" / (std::string(kind) + ".tar"), shard = folder / (std::string(kind) + ".tar");
    fs::copy_file(from, shard);
    TarReader reader(shard);
    std::vector<std::string> names;
    for (TarMember m; reader.next(m);) names.push_back(m.name);
    REQUIRE(names.size() == 9);
    CHECK(names[3] == "train/" + std::string(std::string(kind) == "ustar" ? 60 : 160, 'n') + ".png");
    const auto source = open_source("tar:" + shard.string() + "?size=4,classes=3", Split::train);
    CHECK(greys(*source) == std::vector<int>{10, 11, 12});
    for (std::int64_t i = 0; i < 3; ++i) CHECK(source->label(i) == 2 - i);
    CHECK(source->class_names() == std::vector<std::string>{"0", "1", "2"});
    CHECK(source->notes().empty());
  }
}

TEST_CASE("shard names are expanded from braces and ranges") {
  using Names = std::vector<std::string>;
  CHECK(shard_names("a.tar") == Names{"a.tar"});
  CHECK(shard_names("d/a-{08..10}.tar") == Names{"d/a-08.tar", "d/a-09.tar", "d/a-10.tar"});
  CHECK(shard_names("{a,b}{1..2}") == Names{"a1", "a2", "b1", "b2"});
  CHECK(shard_names("a{0..1,7}.tar::b.tar") == Names{"a0.tar", "a1.tar", "a7.tar", "b.tar"});
  CHECK(shard_names("train-{000..099}.tar").size() == 100);
  CHECK(has(error_of([] { shard_names("a{3..1}"); }), "the range '3..1' falls"));
  CHECK(has(error_of([] { shard_names("a{0..1"); }), "unbalanced braces"));
  CHECK(has(error_of([] { shard_names("a}0{"); }), "unbalanced braces"));
  CHECK(has(error_of([] { shard_names("a{a..z}"); }), "'a..z' is not a range of whole numbers"));
  CHECK(has(error_of([] { shard_names("{0..99999}{0..99999}"); }), "more than 100000 shards"));
  CHECK(has(error_of([] { shard_names("{0..18446744073709551615}"); }), "has more than 100000 numbers"));
  CHECK(has(error_of([] { shard_names("a::"); }), "a name is empty"));
}

TEST_CASE("samples of several shards are in order; the test split is every tenth sample or separate shards") {
  const TempFolder folder;
  write_atomically(folder / "a-0.tar", shard_of(0, 24));
  write_atomically(folder / "a-1.tar", shard_of(24, 16));
  write_atomically(folder / "val.tar", shard_of(100, 3));
  const std::string spec = "tar:" + (folder / "a-{0..1}.tar").string() + "?size=4,channels=1";
  const auto train = open_source(spec, Split::train), test = open_source(spec, Split::test);
  CHECK(train->count() == 36);
  CHECK(greys(*test) == std::vector<int>{18, 19, 38, 39});  // every tenth sample of a class; the two classes alternate
  const std::vector<int> values = greys(*train);
  CHECK(values[0] == 0);
  CHECK(values[35] == 37);
  CHECK(open_source(spec + ",limit=3", Split::train)->count() == 6);
  const auto own = open_source(spec + ",test=" + (folder / "val.tar").string(), Split::test);
  CHECK(greys(*own) == std::vector<int>{100, 101, 102});
  CHECK(open_source(spec + ",test=" + (folder / "val.tar").string(), Split::train)->count() == 40);
  const Loader loader(train, {.seed = 3});
  CHECK(loader.batch(30, 12).x.to_vector<float>() == Loader(open_source(spec, Split::train), {.seed = 3}).batch(30, 12).x.to_vector<float>());
  CHECK(fingerprint(*train) == fingerprint(*open_source(spec, Split::train)));
  CHECK(fingerprint(*train) != fingerprint(*test));
  CHECK(open_dataset(spec, Split::test).pixels.size() == 64);
  CHECK(class_names_of(spec) == std::vector<std::string>{"0", "1"});
  CHECK(has(error_of([&] { open_source(spec + ",test=" + (folder / "val.tar").string() + ",classes=1", Split::test); }), "label 1, but there are 1 classes"));
}

TEST_CASE("the index is stored beside the shard, and built again if the shard or the index has changed") {
  const TempFolder folder;
  const fs::path shard = folder / "a.tar", index = folder / "a.tar.flowmap-index";
  const std::string spec = "tar:" + shard.string() + "?size=4,channels=1";
  write_atomically(shard, shard_of(0, 4));
  const std::string before = fingerprint(*open_source(spec, Split::train));
  const std::string kept = read_file(index);
  REQUIRE(kept.size() == 32 + 4 * 24 + 4);
  CHECK(tar_index_bytes(*parse_tar_index(kept)) == kept);
  CHECK(tar_index_bytes(scan_tar(shard)) == kept);
  for (std::size_t i = 0; i < kept.size(); ++i) {  // with any flipped bit or cut
    std::string bad = kept;
    bad[i] ^= 4;
    CHECK(!parse_tar_index(bad));
    CHECK(!parse_tar_index(kept.substr(0, i)));
  }
  write_atomically(index, "damaged");
  CHECK(fingerprint(*open_source(spec, Split::train)) == before);
  CHECK(read_file(index) == kept);

  // An index is accepted if size and time agree, although its labels differ: otherwise every start would read the whole shard.
  TarIndex other = *parse_tar_index(kept);
  other.samples[0].label = 1;
  write_atomically(index, tar_index_bytes(other));
  CHECK(open_source(spec, Split::train)->label(0) == 1);
  other.changed += 1;
  write_atomically(index, tar_index_bytes(other));
  CHECK(open_source(spec, Split::train)->label(0) == 0);

  write_atomically(shard, shard_of(50, 5));
  CHECK(greys(*open_source(spec, Split::train)) == std::vector<int>{50, 51, 52, 53, 54});
  // If size and time are the same, a changed shard is detected when a sample is read.
  const auto time = fs::last_write_time(shard);
  const auto old = open_source(spec, Split::train);
  write_atomically(shard, shard_of(60, 5));
  fs::last_write_time(shard, time);
  CHECK(has(error_of([&] { greys(*open_source(spec, Split::train)); }), "it has changed since its index was made"));
  CHECK(has(error_of([&] { greys(*old); }), "it has changed since its index was made"));
}

TEST_CASE("an index whose checksum fits but whose samples do not is rejected") {
  const TarIndex good{4096, 7, {{512, 100, 1, 3, 0}, {2048, 2048, 2, -1, 1}}};
  const auto parsed = [&](const std::function<void(TarSample&)>& spoil) {
    TarIndex index = good;
    spoil(index.samples[1]);
    return parse_tar_index(tar_index_bytes(index)).has_value();
  };
  const std::optional<TarIndex> back = parse_tar_index(tar_index_bytes(good));
  REQUIRE(back);
  CHECK((back->bytes == 4096 && back->changed == 7 && back->samples.size() == 2));
  CHECK((back->samples[0].offset == 512 && back->samples[0].size == 100 && back->samples[0].header_crc == 1 && back->samples[0].label == 3 && back->samples[0].webp == 0));
  CHECK(parsed([](TarSample&) {}));
  CHECK_FALSE(parsed([](TarSample& s) { s.offset = 511, s.size = 1; }));
  CHECK(parsed([](TarSample& s) { s.offset = 512; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.offset = 4097, s.size = 0; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.offset = std::uint64_t(1) << 63, s.size = 0; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.size = 2049; }));
  CHECK(parsed([](TarSample& s) { s.offset = 4096, s.size = 0; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.label = -2; }));
  CHECK(parsed([](TarSample& s) { s.label = 10'000'000; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.label = 10'000'001; }));
  CHECK_FALSE(parsed([](TarSample& s) { s.webp = 2; }));
  const TarIndex none{1024, 7, {}};
  CHECK(parse_tar_index(tar_index_bytes(none))->samples.empty());
  std::string more = tar_index_bytes(good);
  more[24] = 1;                                            // the count is smaller than the number of samples
  CHECK_FALSE(parse_tar_index(more));
  CHECK_FALSE(parse_tar_index(""));
  CHECK_FALSE(parse_tar_index("fmtarix1"));
}

TEST_CASE("a scan finds offsets, sizes and labels (.cls or .json), and skips members outside of samples") {
  const TempFolder folder;
  const auto scan = [&](const std::vector<TarEntry>& entries) {
    write_atomically(folder / "s.tar", tar_of(entries));
    return scan_tar(folder / "s.tar").samples;
  };
  const auto label = [&](const char* ending, const std::string& text) { return scan({{"a.png", "x"}, {std::string("a") + ending, text}}).at(0).label; };
  CHECK(label(".txt", "5") == -1);
  CHECK(label(".cls", "5") == 5);
  CHECK(label(".cls", "0") == 0);
  CHECK(label(".cls", "7 \r\n") == 7);
  CHECK(label(".cls", "10000000") == 10'000'000);
  CHECK(label(".json", R"({"label": 5})") == 5);
  CHECK(label(".json", R"({"label": 10000000})") == 10'000'000);
  for (const char* none : {R"({"label": null})", R"({"text": 1})", "[1]", "3"}) CHECK(label(".json", none) == -1);
  for (const char* bad : {R"({"label": 10000001})", R"({"label": -1})", R"({"label": "5"})", R"({"label": 18446744073709551615})"})
    CHECK_THROWS_AS(label(".json", bad), FileError);
  CHECK(scan({{"a.png", "x"}, {"a.cls", "1"}, {"a.json", R"({"label": 2})"}}).at(0).label == 1);    // .cls has priority over .json
  CHECK(scan({{"a.cls", "0"}, {"a.json", R"({"label": 2})"}, {"a.png", "x"}}).at(0).label == 0);
  const std::vector<TarSample> two = scan({{"d/a.seg.txt", "s"}, {"d/a.PNG", "xyz"}, {"d.e/.hidden.png", "x"}, {"d/noending", "x"}, {"d/b.webp", "w"}, {"d/b.Cls", "4"}});
  REQUIRE(two.size() == 2);
  CHECK((two[0].offset == 512 * 3 && two[0].size == 3 && two[0].webp == 0 && two[0].label == -1));
  CHECK((two[1].size == 1 && two[1].webp == 1 && two[1].label == 4));
  CHECK(two[0].header_crc != two[1].header_crc);
  CHECK(scan({{"a.jpg", "x"}, {"b.jpeg", "x"}, {"c.png", "x"}}).size() == 3);
  CHECK(has(scan_error(folder, tar_of({{"a.png", "x"}, {"a.json", "{}"}, {"a.json", "{}"}})), "no error"));      // neither member has a label, so they do not contradict each other
  CHECK(has(scan_error(folder, tar_of({{"a.png", "x"}, {"a.json", R"({"label": 0})"}, {"a.json", "{}"}})), "sample \"a\" has two members \"a.json\""));
  CHECK(has(scan_error(folder, tar_of({{"a.png", "x"}, {"a.cls", "0"}, {"a.cls", "1"}})), "sample \"a\" has two members \"a.cls\""));
  CHECK(has(scan_error(folder, tar_of({{"a.txt", "1"}, {"a.cls", "0"}, {"a.xml", "1"}})), "it has .txt, .xml"));
  CHECK(scan_error(folder, tar_of({{"a.cls", "0"}})).ends_with("(.jpg, .jpeg, .png, .webp)"));
}

TEST_CASE("index= stores the index in another folder; an index that cannot be written causes a note") {
  const TempFolder folder;
  write_atomically(folder / "a.tar", shard_of(0, 4));
  fs::create_directory(folder / "index");
  const std::string spec = "tar:" + (folder / "a.tar").string() + "?size=4";
  CHECK(open_source(spec + ",index=" + (folder / "index").string(), Split::train)->count() == 4);
  CHECK(!fs::exists(folder / "a.tar.flowmap-index"));
  CHECK(std::distance(fs::directory_iterator(folder / "index"), fs::directory_iterator()) == 1);
  CHECK(has(error_of([&] { open_source(spec + ",index=/nowhere", Split::train); }), "index=/nowhere: no such folder"));
  fs::create_directory(folder / "a.tar.flowmap-index");  // a folder in place of the index
  const auto source = open_source(spec, Split::train);
  REQUIRE(source->notes().size() == 1);
  CHECK(has(source->notes()[0], "1 of 1 indices could not be written"));
}

TEST_CASE("malformed tar files are refused with file and member") {
  const TempFolder folder;
  const std::string good = shard_of(0, 2);
  CHECK(scan_error(folder, good) == "no error");
  const auto spoiled = [&](const std::function<void(std::string&)>& spoil) { return scan_error(folder, tar_of({{"a.png", png(1), '0', spoil}})); };
  CHECK(has(scan_error(folder, "short"), "not a tar file: 5 bytes"));
  CHECK(has(scan_error(folder, std::string("\x1f\x8b") + good), "a compressed tar file"));
  std::string flipped = good;
  flipped[3] ^= 1;
  CHECK(has(scan_error(folder, flipped), "wrong checksum of the header at byte 0"));
  for (std::size_t cut : {std::size_t(700), good.size() - 1024, good.size() - 600, good.size() - 512, good.size() - 2000})
    CHECK_MESSAGE(has(scan_error(folder, good.substr(0, cut)), "cut off?"), cut);
  CHECK(has(scan_error(folder, good + good), "were tar files joined with cat?"));
  CHECK(scan_error(folder, good + std::string(9000, '\0')) == "no error");
  CHECK(has(spoiled([](std::string& h) { put_field(h, 124, "77777777777"); }), "\"a.png\" of 8589934591 bytes at byte 512 goes beyond the end"));
  CHECK(has(spoiled([](std::string& h) { put_field(h, 124, std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)); }), "goes beyond the end"));
  CHECK(has(spoiled([](std::string& h) { put_field(h, 124, std::string(12, '\xff')); }), "beyond 2^63"));
  CHECK(has(spoiled([](std::string& h) { put_field(h, 124, "0000000x000"); }), "is not an octal number"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", "", '2'}})), "\"a.png\" is a link"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", "", 'S'}})), "\"a.png\" is a sparse file"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", "", '3'}})), "\"a.png\" is of type \"3\""));
  CHECK(has(scan_error(folder, tar_of({{"x", "99 path=a\n", 'x'}, {"a.png", png(1)}})), "bad pax records"));
  CHECK(has(scan_error(folder, tar_of({{"x", "13 size=12x4\n", 'x'}, {"a.png", png(1)}})), "size \"12x4\" of member \"a.png\""));
  CHECK(has(scan_error(folder, tar_of({{"x", "28 GNU.sparse.realsize=1000\n", 'x'}, {"a.png", png(1)}})), "a sparse member"));
  CHECK(has(scan_error(folder, tar_of({{"x", std::string(70000, '1'), 'x'}})), "bytes of names"));
}

TEST_CASE("invalid samples are refused with the name of the sample or its member") {
  const TempFolder folder;
  CHECK(has(scan_error(folder, tar_of({{"a.cls", "1"}, {"a.txt", "x"}})), "sample \"a\" has no image (.jpg, .jpeg, .png, .webp); it has .txt"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.jpg", "x"}})), "sample \"a\" has two images, the second is \"a.jpg\""));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.cls", "1"}, {"a.cls", "1"}})), "two members \"a.cls\""));
  CHECK(has(scan_error(folder, tar_of({{"a.png", ""}})), "\"a.png\" has 0 bytes"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"b.png", png(1)}, {"a.png", png(1)}})), "sample \"a\" occurs twice"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.cls", "cat"}})), "\"a.cls\" is \"cat\"; a label is a whole number"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.cls", "-1"}})), "label -1 is outside of [0, 10000000]"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.cls", "99999999999"}})), "label 99999999999 is outside"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.cls", std::string(100, '1')}})), "\"a.cls\" has 100 bytes; at most 64 are read"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.json", "{"}})), "\"a.json\" is not JSON"));
  CHECK(has(scan_error(folder, tar_of({{"a.png", png(1)}, {"a.json", "{\"label\": 1.5}"}})), "\"label\" is 1.5"));
  CHECK(scan_error(folder, tar_of({{"._a.png", "x"}, {"d/", "", '5'}, {"README", "x"}, {"a.png", png(1)}, {"a.json", "{\"text\": 1}"}})) == "no error");

  const auto open = [&](const std::vector<TarEntry>& entries) {
    write_atomically(folder / "t.tar", tar_of(entries));
    return open_source("tar:" + (folder / "t.tar").string() + "?size=4", Split::train);
  };
  CHECK(open({{"a.png", png(1)}, {"b.png", png(2)}})->class_names() == std::vector<std::string>{"all"});  // a shard without any labels has one class
  CHECK(has(error_of([&] { open({{"a.png", png(1)}, {"a.cls", "0"}, {"b.png", png(2)}}); }), "1 of 2 samples have no label, the first is "));
  CHECK(has(error_of([&] { open({{"a.png", png(1)}, {"a.cls", "0"}, {"b.png", png(2)}}); }), "t.tar: b.png: label all of them or none"));
  CHECK(has(error_of([&] { greys(*open({{"a.png", "no image"}})); }), "t.tar: a.png: neither a PNG, a JPEG nor a WebP file"));
  CHECK(has(error_of([&] { open({}); }), "no samples in 1 shards"));
  CHECK(has(error_of([&] { open_source("tar:/nowhere.tar?size=4", Split::train); }), "/nowhere.tar"));
}
