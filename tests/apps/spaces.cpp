// Latent spaces that need only a row in the table, such as the pixels of images, with the real programs.
#include "flowmap/training/chain/spaces.h"

#include <cmath>

#include "data/png.h"
#include "flowmap/training/chain/score_file.h"
#include "tests/apps/tiny_run.h"

using namespace fm;
using namespace fm::test;

namespace {

const Arguments pixels{"--space", "pixels"}, quiet{"-q"};

std::string model_of(const fs::path& out) { return read_file(out / "fm/checkpoints/latest/model.safetensors"); }

}  // namespace

TEST_CASE("space \"pixels\": the pipeline runs without an autoencoder, and the judge scores it") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  succeeds(train("pipeline", out, pixels));
  for (const char* file : {"encoder", "decoder", "stats.safetensors"}) CHECK_MESSAGE(!fs::exists(out / file), file);
  for (const char* file : {"judge/judge.safetensors", "samples.png", "report.html", "mfd/samples"}) CHECK_MESSAGE(fs::exists(out / file), file);
  std::vector<std::string> names;
  for (const Score& s : read_scores(out / "scores.csv")) {
    names.push_back(s.name);
    CHECK(std::isfinite(s.metric("frechet")));
    CHECK(s.decoder.empty());
    CHECK(s.accuracy >= 0);
  }
  CHECK(names == std::vector<std::string>{"teacher", "cmt", "cmt", "mfd", "mfd", "mft", "mft"});       // there is no reconstruction
  succeeds(run("flowmap_sample", out, pixels + Arguments{"--count", "3", "--pngs", (folder / "pngs").string(), "--grid", ""}));
  CHECK(has(read_file(folder / "pngs/samples.txt"), " pixels seed 1"));

  const Image white = image_from_planes(std::vector<std::uint8_t>(64, 255).data(), 1, 8, 8);
  write_png(folder / "white.png", white);
  const Result seen = run("flowmap_sample", out, pixels + Arguments{"--reconstruct", (folder / "white.png").string(), "--grid", (folder / "grid.png").string()});
  succeeds(seen);
  CHECK_MESSAGE(has(seen.err, "latent [1, 1, 8, 8], rms 1.000"), seen.err);                             // level 255 becomes the value 1
}

TEST_CASE("space \"pixels\": training gives the same bits from memory, from image files and from a cache") {
  const TempFolder folder;
  const auto trained = [&](const std::string& from) {
    const fs::path out = folder / from;
    const Arguments where = pixels + Arguments{"--latents", from, "--latents.dtype", "f32"};
    if (from == "cache") succeeds(train("encode", out, where));
    succeeds(train("fm", out, where));
    return model_of(out);
  };
  const std::string memory = trained("memory");
  CHECK(memory == trained("images"));
  CHECK(memory == trained("cache"));
}

TEST_CASE("space \"haar\": images have four bands and are reconstructed; odd sides are refused") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  const Arguments haar{"--space", "haar"};
  succeeds(train("fm", out, haar));
  write_png(folder / "white.png", image_from_planes(std::vector<std::uint8_t>(64, 255).data(), 1, 8, 8));
  const Result seen = run("flowmap_sample", out, haar + Arguments{"--reconstruct", (folder / "white.png").string(), "--grid", (folder / "grid.png").string()});
  succeeds(seen);
  CHECK_MESSAGE(has(seen.err, "latent [1, 4, 4, 4], rms 1.000"), seen.err);                             // a white block has average 2 and details 0
  refused(train("fm", folder / "odd", haar + Arguments{"--image-size", "0", "--data", "shapes?size=9,count=64,channels=1", "-q"}), exit_code::usage,
          "space haar halves the sides of images, and 9 is odd");
  refused(train("pipeline", folder / "odd", haar + Arguments{"--decoder-size", "B", "-q"}), exit_code::usage, "with space = \"haar\" leave it out");
}

TEST_CASE("stages and settings of another space are refused with the name of that space") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  refused(train("encoder", out, pixels + quiet), exit_code::usage, "stage encoder is for space = \"rae\"; with space = \"pixels\" there is nothing to do for it");
  refused(train("stats", out, pixels + quiet), exit_code::usage, "stage stats is for space = \"rae\"");
  refused(train("pipeline", out, pixels + Arguments{"--decoder-size", "B", "-q"}), exit_code::usage, "decoder_size is for an autoencoder");
  refused(train("pipeline", out, pixels + Arguments{"--data", "points:moons", "--image-size", "0", "-q"}), exit_code::usage, "points:moons: samples are f32 [2]");
  refused(train("pipeline", out, {"--space", "voxels", "-q"}), exit_code::usage, "voxels");
  CHECK_FALSE(fs::exists(out));
}
