// The same images in a folder, in tar shards, in a zip file and beside a dataset.json give the same batches, bit for bit.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>

#include "data/loader.h"
#include "data/png.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/tar_bytes.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zip_bytes.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

struct Picture {
  std::string name;  // "cat/003.png"
  std::string bytes;
  int label;
};

std::vector<Picture> made_pictures() {
  std::vector<Picture> pictures;
  const std::pair<const char*, int> classes[] = {{"cat", 23}, {"dog", 17}};
  for (int label = 0; label < 2; ++label)
    for (int i = 0; i < classes[label].second; ++i) {
      Image image = blank_image(11, 9, 3);
      for (std::size_t k = 0; k < image.pixels.size(); ++k) image.pixels[k] = std::uint8_t(RandomKey{std::uint64_t(label), 7}.block(std::uint64_t(i) << 16 | k)[0]);
      const std::vector<std::uint8_t> bytes = encode_png(image);
      pictures.push_back({fmt::format("{}/{:03}.png", classes[label].first, i), {bytes.begin(), bytes.end()}, label});
    }
  return pictures;
}

// Writes the images in all four forms. Returns the four specifications for --data, without the common keys.
std::vector<std::string> written(const fs::path& folder, const std::vector<Picture>& pictures) {
  std::string labels;
  std::vector<Member> members;
  std::vector<TarEntry> shards[2];
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const Picture& p = pictures[i];
    for (const char* root : {"classes", "json"}) {
      fs::create_directories((folder / root / p.name).parent_path());
      write_atomically(folder / root / p.name, p.bytes);
    }
    labels += fmt::format("{}[\"{}\", {}]", i ? ", " : "", p.name, p.label);
    members.push_back({p.name, p.bytes});
    auto& shard = shards[i < 15 ? 0 : 1];
    shard.push_back({p.name, p.bytes});
    shard.push_back({p.name.substr(0, p.name.size() - 4) + ".cls", std::to_string(p.label)});
  }
  const std::string json = "{\"labels\": [" + labels + "], \"class_names\": [\"cat\", \"dog\"]}";
  write_atomically(folder / "json/dataset.json", json);
  members.push_back({"dataset.json", json});
  write_atomically(folder / "all.zip", zip_of(members));
  for (int s = 0; s < 2; ++s) write_atomically(folder / fmt::format("{}.tar", s), tar_of(shards[s]));
  write_atomically(folder / "names.txt", std::string("cat\ndog\n"));
  const std::string at = folder.string();
  return {"folder:" + at + "/classes?", "folder:" + at + "/json?", "zip:" + at + "/all.zip?", "tar:" + at + "/{0..1}.tar?class_names=" + at + "/names.txt,"};
}

}  // namespace

TEST_CASE("one collection in four file formats gives the same batches of both splits, with center and random crops") {
  const TempFolder folder;
  const std::vector<std::string> specs = written(folder.path(), made_pictures());
  for (const char* keys : {"size=8", "size=6,channels=1,crop=random", "size=8,limit=5"}) {
    for (const Split split : {Split::train, Split::test}) {
      const auto wanted = open_source(specs[0] + keys, split);
      const SampleBatch want = Loader(wanted, {.seed = 5, .flip = true}).batch(7, 40);
      for (std::size_t s = 1; s < specs.size(); ++s) {
        CAPTURE(specs[s] + keys);
        const auto source = open_source(specs[s] + keys, split);
        REQUIRE(source->count() == wanted->count());
        CHECK(source->class_names() == wanted->class_names());
        const SampleBatch batch = Loader(source, {.seed = 5, .flip = true}).batch(7, 40);
        CHECK(batch.x.to_vector<float>() == want.x.to_vector<float>());
        CHECK(batch.labels.to_vector<std::int64_t>() == want.labels.to_vector<std::int64_t>());
      }
    }
  }
}
