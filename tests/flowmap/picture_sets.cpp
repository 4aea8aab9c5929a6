// Features of sets of images, stored and taken again.
#include <doctest/doctest.h>

#include <fstream>

#include "flowmap/training/picture_sets/seen_set.h"
#include "tensor/collectives/threads.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tests/flowmap/small_images.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

struct Silent : Messages {
  std::vector<std::string> warnings;
  void message(Level, std::string_view text) override { warnings.emplace_back(text); }
};

struct Seeing {
  TempFolder t;
  Corner corner;
  Silent log;
  SingleRank alone;
  SeenSet see(const fs::path& folder, const SeeOptions& more = {}, const std::string& fingerprint = "corner 1") {
    SeeOptions options = more;
    if (options.cache.empty()) options.cache = t / "features";
    return seen_set(*open_picture_set(folder.string()), corner.features(fingerprint), options, alone, log);
  }
};

}  // namespace

TEST_CASE("features come in the order of the images, over the borders of stored files") {
  Seeing s;
  draw_set(s.t / "a", 261);
  const SeenSet set = s.see(s.t / "a");
  REQUIRE(set.vectors.shape() == Shape{261, 3});
  for (const std::int64_t i : {0, 1, 15, 16, 127, 128, 200, 255, 256, 260})
    for (std::int64_t c = 0; c < 3; ++c) {
      CHECK(set.vectors.data<float>()[i * 3 + c] == level(i, c));
      CHECK(set.spatial.data<float>()[i * 3 + c] == 2 * level(i, c));
    }
  CHECK(set.height == small_height);
  CHECK(set.width == small_width);
  CHECK(set.count == 261);
  CHECK_FALSE(set.logits.defined());
  CHECK_FALSE(s.see(s.t / "a", {.spatial = false}).spatial.defined());
}

TEST_CASE("a second look computes nothing, and a changed image only its file") {
  Seeing s;
  draw_set(s.t / "a", 300);
  const std::string id = s.see(s.t / "a").id;
  CHECK(*s.corner.seen == 300);
  CHECK(s.see(s.t / "a").id == id);
  CHECK(*s.corner.seen == 300);
  fs::rename(s.t / "a", s.t / "b");                       // names do not matter
  CHECK(s.see(s.t / "b").id == id);
  CHECK(*s.corner.seen == 300);
  draw_set(s.t / "c", 1, 999);
  fs::copy_file(s.t / "c/00000.png", s.t / "b/00130.png", fs::copy_options::overwrite_existing);
  const SeenSet changed = s.see(s.t / "b");
  CHECK(*s.corner.seen == 300 + 128);
  CHECK(changed.id != id);
  CHECK(changed.vectors.data<float>()[130 * 3] == level(999, 0));
  CHECK(s.see(s.t / "b", {}, "corner 2").id == changed.id);   // other weights see the same images
  CHECK(*s.corner.seen == 300 + 128 + 300);
  s.see(s.t / "b");                                         // both are stored
  CHECK(*s.corner.seen == 300 + 128 + 300);
  CHECK(s.log.warnings.empty());
}

TEST_CASE("the order and the number of images are part of the fingerprint") {
  Seeing s;
  draw_set(s.t / "a", 200);
  const SeenSet all = s.see(s.t / "a");
  const SeenSet part = s.see(s.t / "a", {.limit = 150});
  CHECK(part.count == 150);
  CHECK(part.id != all.id);
  CHECK(part.vectors.shape() == Shape{150, 3});
  fs::rename(s.t / "a/00000.png", s.t / "a/x.png");
  CHECK(s.see(s.t / "a").id != all.id);
}

TEST_CASE("a stop in the middle loses at most one file, and a damaged file is computed again") {
  Seeing s;
  draw_set(s.t / "a", 300);
  struct Stop {};
  CHECK_THROWS_AS(s.see(s.t / "a", {.progress = [](std::int64_t done) { if (done >= 256) throw Stop(); }}), Stop);
  CHECK(*s.corner.seen == 256);
  const SeenSet whole = s.see(s.t / "a");
  CHECK(*s.corner.seen == 300);
  int files = 0;
  for (const auto& file : fs::directory_iterator(s.t / "features")) {
    ++files;
    std::string bytes = read_file(file.path());
    bytes[bytes.size() - 3] ^= 1;
    std::ofstream(file.path(), std::ios::binary) << bytes;
  }
  CHECK(files == 3);
  CHECK(s.log.warnings.empty());
  CHECK(s.see(s.t / "a").id == whole.id);
  CHECK(*s.corner.seen == 600);
  CHECK(s.log.warnings.size() == 3);
}

TEST_CASE("two ranks divide the images among them, and both have the whole result") {
  Seeing s;
  draw_set(s.t / "a", 300);
  const SeenSet alone = seen_set(*open_picture_set((s.t / "a").string()), Corner().features(), {.cache = s.t / "alone"}, s.alone, s.log);
  std::vector<SeenSet> sets(2);
  std::vector<std::int64_t> seen(2);
  run_ranks(2, [&](Communicator& ranks) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    Corner corner;
    Silent log;
    sets[r] = seen_set(*open_picture_set((s.t / "a").string()), corner.features(), {.cache = s.t / "features"}, ranks, log);
    seen[r] = *corner.seen;
  });
  CHECK(seen == std::vector<std::int64_t>{128 + 44, 128});               // files 0 and 2, and file 1
  for (const SeenSet& set : sets) {
    CHECK(set.id == alone.id);
    CHECK(set.vectors.to_vector<float>() == alone.vectors.to_vector<float>());
  }
}

TEST_CASE("images of two sizes are named, also across stored files") {
  Seeing s;
  draw_set(s.t / "a", 3);
  draw_set(s.t / "b", 1, 5, small_width + 1);
  fs::copy_file(s.t / "b/00000.png", s.t / "a/z.png");
  CHECK(has(error_of<FileError>([&] { s.see(s.t / "a"); }), "00000.png is 6x7 but z.png is 7x7"));
  draw_set(s.t / "c", 128);
  fs::copy_file(s.t / "b/00000.png", s.t / "c/z.png");
  CHECK(has(error_of<FileError>([&] { s.see(s.t / "c"); }), "00000.png is 6x7 but z.png is 7x7"));
}

TEST_CASE("features that are not finite name the image") {
  Seeing s;
  draw_set(s.t / "a", 150);
  Features broken = s.corner.features("broken");
  broken.see = [f = broken.see](const Tensor& x) {
    Seen seen = f(x);
    for (std::int64_t i = 0; i < seen.vectors.dim(0); ++i)
      if (seen.vectors.data<float>()[i * 3] == static_cast<float>(level(140, 0))) seen.vectors.data<float>()[i * 3] = std::nanf("");
    return seen;
  };
  const auto set = open_picture_set((s.t / "a").string());
  CHECK(has(error_of<Error>([&] { seen_set(*set, broken, {.cache = s.t / "features"}, s.alone, s.log); }), "features of 00140.png are not finite"));
}

TEST_CASE("an array of another form is not taken for an earlier one with the same bytes") {
  Seeing s;
  std::vector<std::uint8_t> bytes;
  for (std::int64_t i = 0; i < 2 * 6 * 4 * 3; ++i) bytes.push_back(level(1, i));
  const auto id_of = [&](const std::vector<std::int64_t>& shape) {
    write_npy<std::uint8_t>(s.t / "a.npy", shape, bytes);
    return s.see(s.t / "a.npy").id;
  };
  const std::string wide = id_of({2, 4, 6, 3});
  CHECK(id_of({2, 6, 4, 3}) != wide);
  CHECK(*s.corner.seen == 4);
  bytes[7] ^= 1;                                                         // as many bytes
  CHECK(id_of({2, 4, 6, 3}) != wide);
  CHECK(*s.corner.seen == 6);
}
