// Latent spaces that need only a row in the table, such as the pixels of images, with the real programs.
#include "flowmap/training/chain/spaces.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <string_view>

#include "data/png.h"
#include "flowmap/training/chain/score_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/apps/tiny_run.h"

using namespace fm;
using namespace fm::test;

namespace {

const Arguments pixels{"--space", "pixels"}, vae{"--space", "vae"}, quiet{"-q"};

std::string model_of(const fs::path& out) { return read_file(out / "fm/checkpoints/latest/model.safetensors"); }

// Trains a teacher with these options in a folder for each source of latents, which `prepare` is called with first. The three must be equal in f32.
void check_sources_of_latents(const fs::path& folder, const Arguments& options, const std::function<void(const fs::path& out)>& prepare = {}) {
  std::map<std::string, std::string> models;
  for (const char* from : {"memory", "images", "cache"}) {
    const fs::path out = folder / from;
    if (prepare) prepare(out);
    const Arguments where = options + Arguments{"--latents", from, "--latents.dtype", "f32"};
    if (std::string_view(from) == "cache") succeeds(train("encode", out, where));
    succeeds(train("fm", out, where));
    models[from] = model_of(out);
  }
  CHECK(models["memory"] == models["images"]);
  CHECK(models["memory"] == models["cache"]);
}

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
  check_sources_of_latents(folder.path(), pixels);
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

TEST_CASE("space \"vae\": the pipeline trains an autoencoder, measures the scale of its latents, and scores reconstruction and generators") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  const Result trained = train("pipeline", out, vae);
  succeeds(trained);
  CHECK_FALSE(fs::exists(out / "decoder"));
  CHECK_FALSE(has(trained.err, "no images of"));
  for (const char* file : {"encoder/encoder.safetensors", "vae/checkpoints/latest/ema.safetensors", "vae/samples", "stats.safetensors", "samples.png", "report.html"})
    CHECK_MESSAGE(fs::exists(out / file), file);
  std::vector<std::string> names;
  for (const Score& s : read_scores(out / "scores.csv")) {
    names.push_back(s.name);
    CHECK(std::isfinite(s.metric("frechet")));
    CHECK_FALSE(s.decoder.empty());
  }
  CHECK(names == std::vector<std::string>{"reconstruction", "teacher", "cmt", "cmt", "mfd", "mfd", "mft", "mft"});
  for (const double v : Safetensors(out / "stats.safetensors")["mean"].to_vector<double>()) CHECK(v == 0);
  const std::vector<double> variance = Safetensors(out / "stats.safetensors")["var"].to_vector<double>();
  for (const double v : variance) CHECK(v == variance.front());
  const Result sampled = run("flowmap_sample", out, vae + Arguments{"--count", "3", "--pngs", (folder / "pngs").string(), "--grid", ""});
  succeeds(sampled);
  CHECK_MESSAGE(has(sampled.err, "vae: KL autoencoder 8-8, 4 channels, factor 2"), sampled.err);
  CHECK(has(read_file(folder / "pngs/samples.txt"), " rounding nearest"));

  // Pixels of samples and of reconstructions are rounded to the nearest level, unless truncation is requested.
  std::vector<std::uint8_t> grey;
  for (int i = 0; i < 64; ++i) grey.push_back(static_cast<std::uint8_t>(60 + 2 * i));
  write_png(folder / "grey.png", image_from_planes(grey.data(), 1, 8, 8));
  const auto bytes = [&](const Arguments& more) {
    const fs::path npz = folder / "pixels.npz";
    succeeds(run("flowmap_sample", out, vae + Arguments{"--grid", "", "--npz", npz.string()} + more));
    return NpzReader(npz).read("arr_0").to_vector<std::uint8_t>();
  };
  for (const Arguments& what : {Arguments{"--count", "3"}, Arguments{"--reconstruct", (folder / "grey.png").string()}}) {
    CHECK(bytes(what) == bytes(what + Arguments{"--rounding", "nearest"}));
    CHECK(bytes(what) != bytes(what + Arguments{"--rounding", "truncate"}));
  }

  // Weights of other sizes are refused by the key that differs.
  refused(train("fm", folder / "wide", vae + Arguments{"--vae-weights", (out / "vae").string() + ":ema", "--vae.model.widths", "8,16", "-q"}), exit_code::unreadable,
          "an autoencoder with widths = [8, 8], but the recipe says [8, 16]");
  refused(train("fm", folder / "deep", vae + Arguments{"--vae-weights", (out / "vae").string() + ":ema", "--vae.model.resnets", "2", "-q"}), exit_code::unreadable,
          "an autoencoder with resnets = 1, but the recipe says 2");

  // So is a published file whose own scale is another.
  fs::create_directories(folder / "sdxl");
  fs::copy(out / "vae/checkpoints/step-00000012/ema.safetensors", folder / "sdxl/diffusion_pytorch_model.safetensors");
  std::ofstream(folder / "sdxl/config.json") << R"({"_class_name": "AutoencoderKL", "scaling_factor": 0.13025})";
  const Arguments sdxl = vae + Arguments{"--vae-weights", (folder / "sdxl/diffusion_pytorch_model.safetensors").string()};
  refused(train("fm", folder / "scaled", sdxl + Arguments{"--vae.model.scale", "0.18215", "-q"}), exit_code::unreadable, "scaling_factor 0.13025, but vae.model.scale is 0.18215");
  succeeds(train("fm", folder / "scaled", sdxl + Arguments{"--vae.model.scale", "0.13025"}));
  succeeds(train("fm", folder / "measured", sdxl));         // the recipe's scale of 0: it is measured, whatever the file says

  // Its file serves another run, whose feature loss then needs no encoder; a generator of another scale is refused.
  const std::string file = (out / "vae").string() + ":ema";
  const fs::path other = folder / "other";
  succeeds(train("fm", other, vae + Arguments{"--vae-weights", file}));
  CHECK_FALSE(fs::exists(other / "encoder"));
  CHECK(model_of(other) == model_of(out));
  refused(run("flowmap_sample", out, vae + Arguments{"--vae.model.scale", "0.5", "--grid", (folder / "grid.png").string(), "-q"}), exit_code::usage, "trained in another latent space");
}

TEST_CASE("space \"vae\": training gives the same bits from memory, from image files and from a cache") {
  const TempFolder folder;
  const fs::path first = folder / "first";
  const Arguments plain = vae + Arguments{"--vae.feature-weight", "0"};
  succeeds(train("vae", first, plain));
  CHECK_FALSE(fs::exists(first / "encoder"));
  check_sources_of_latents(folder.path(), plain, [&](const fs::path& out) {
    fs::create_directories(out);
    fs::copy(first / "vae", out / "vae", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  });
}

TEST_CASE("space \"vae\": stored means and deviations of another program become a cache without images, and train") {
  const TempFolder folder;
  const fs::path out = folder / "run", file = folder / "latents.npz";
  const Arguments plain = vae + Arguments{"--vae.feature-weight", "0", "--data", "folder:not-there?size=8", "--image-size", "8", "--channels", "1", "--classes", "10"};
  succeeds(train("vae", out, vae + Arguments{"--vae.feature-weight", "0"}));
  const auto save = [&](std::int64_t channels, float deviation, std::int64_t label) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < 40 * channels * 16; ++i) values.push_back(i / 16 % channels < channels / 2 ? std::sin(static_cast<float>(i)) : deviation);
    NpzWriter npz(file);
    npz.add("x", {40, channels, 4, 4}, values);
    npz.add("y", {40}, std::vector<std::int64_t>(40, label));
    npz.finish();
  };
  const Arguments given = plain + Arguments{"--given-latents", file.string(), "--latents", "cache"};
  save(8, 0.5f, 3);
  succeeds(train("encode", out, given));
  const Result trained = train("fm", out, plain + Arguments{"--latents", "cache"});
  succeeds(trained);
  CHECK_MESSAGE(has(trained.err, "latents: 40 images of [8, 4, 4]"), trained.err);
  const double variance = Safetensors(out / "stats.safetensors")["var"].to_vector<double>().front();
  CHECK_MESSAGE(std::abs(variance - 0.75) < 0.02, variance);               // of sin, 1/2, and of the draws, 1/4; mean 0

  // Trainings draw with the deviation: equal means with another deviation give other weights.
  const auto trained_with = [&](float deviation) {
    const fs::path run = folder / fmt::format("deviation {}", deviation);
    fs::create_directories(run);
    fs::copy(out / "vae", run / "vae", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    save(8, deviation, 3);
    const Arguments fixed = given + Arguments{"--vae.model.scale", "1", "--latents.dtype", "f32"};
    succeeds(train("encode", run, fixed));
    succeeds(train("fm", run, fixed));
    return model_of(run);
  };
  CHECK(trained_with(0.5f) != trained_with(1e-6f));
  save(8, 0.5f, 3);

  refused(train("encode", out, plain + Arguments{"--given-latents", file.string(), "-q"}), exit_code::usage, "add --latents cache");
  refused(train("encode", folder / "rae", {"--given-latents", file.string(), "-q"}), exit_code::usage, "are for space = \"vae\", not \"rae\"");
  refused(train("encode", out, given + Arguments{"--latents.given-form", "log_variance", "-q"}), exit_code::unreadable, "so it has deviations, not log-variances");
  save(8, 0.25f, 3);
  refused(train("encode", out, given + quiet), exit_code::usage, "holds latents with given");              // other latents under the same name
  refused(train("encode", out, given + Arguments{"--latents.flip", "true", "--latents-folder", (folder / "b").string(), "-q"}), exit_code::usage, "latents.flip = false");
  const Arguments elsewhere = given + Arguments{"--latents-folder", (folder / "c").string(), "-q"};
  save(8, 0.5f, 3);
  refused(train("encode", out, given + Arguments{"--latents-folder", (folder / "d").string(), "--latents.given-form", "log_variance", "-q"}), exit_code::unreadable, "so it has deviations, not log-variances");
  succeeds(train("encode", out, given + Arguments{"--latents-folder", (folder / "d").string(), "-q"}));        // what the error says to do
  save(8, 0.5f, 10);
  refused(train("encode", out, elsewhere), exit_code::usage, "the label 10, but classes = 10 allows 0 to 9: set classes to the number of labels");
  save(4, 0.5f, 1);
  refused(train("encode", out, elsewhere), exit_code::usage, "latents of [4, 4, 4], but those of this run's autoencoder are [8, 4, 4]");
  save(8, -0.5f, 1);
  refused(train("encode", out, elsewhere), exit_code::unreadable, "given_form = \"log_variance\"");
}

TEST_CASE("space \"vae\": sizes that levels do not divide, settings of the RAE, and missing or foreign weights are refused") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  refused(train("vae", out, vae + Arguments{"--image-size", "0", "--data", "shapes?size=9,count=64,channels=1", "-q"}), exit_code::usage, "image_size 9 is not a multiple of 2");
  refused(train("pipeline", out, vae + Arguments{"--decoder-size", "B", "-q"}), exit_code::usage, "decoder_size is for space = \"rae\"");
  refused(train("vae", out, quiet), exit_code::usage, "stage vae is for space = \"vae\"");
  refused(train("pipeline", out, Arguments{"--vae-weights", (finished_run() / "encoder/encoder.safetensors").string(), "-q"}), exit_code::usage, "vae_weights is for space = \"vae\"");
  refused(train("fm", out, vae + quiet), exit_code::unreadable, "there is no trained vae");
  const std::string encoder = (finished_run() / "encoder/encoder.safetensors").string();
  refused(train("fm", folder / "foreign", vae + Arguments{"--vae-weights", encoder, "-q"}), exit_code::unreadable, "encoder.safetensors");
}

TEST_CASE("stages and settings of another space are refused with the name of that space") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  refused(train("encoder", out, pixels + quiet), exit_code::usage, "stage encoder is for space = \"rae\" or \"vae\"; with space = \"pixels\" there is nothing to do for it");
  refused(train("stats", out, pixels + quiet), exit_code::usage, "stage stats is for space = \"rae\"");
  refused(train("pipeline", out, pixels + Arguments{"--decoder-size", "B", "-q"}), exit_code::usage, "decoder_size is for an autoencoder");
  refused(train("pipeline", out, pixels + Arguments{"--data", "points:moons", "--image-size", "0", "-q"}), exit_code::usage, "points:moons: samples are f32 [2]");
  refused(train("pipeline", out, {"--space", "voxels", "-q"}), exit_code::usage, "voxels");
  CHECK_FALSE(fs::exists(out));
}
