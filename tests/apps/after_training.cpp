// Programs that read a run, run as a user would, on configs/tiny_shapes.toml: samples, reconstructions, scores, the contents of a checkpoint.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "data/dataset.h"
#include "data/image_file.h"
#include "nn/checkpoint_folder.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("flowmap_sample: sample i is the same image for any --first and --count") {
  TempFolder folder;
  const auto draw = [&](const std::string& name, const Arguments& more) {
    const fs::path npz = folder / (name + ".npz");
    succeeds(run("flowmap_sample", finished_run(), Arguments{"--npz", npz.string(), "--grid", (folder / (name + ".png")).string()} + more));
    CHECK(fs::exists(folder / (name + ".png")));
    return NpzReader(npz).read("arr_0");
  };
  const auto rows = [](const Tensor& a, std::int64_t from, std::int64_t to) { return a.slice(0, from, to).to_vector<std::uint8_t>(); };
  const auto bytes = [](const Tensor& a) { return a.to_vector<std::uint8_t>(); };
  const Tensor six = draw("six", {"--count", "6"}), two = draw("two", {"--count", "2", "--first", "3"});
  CHECK(six.shape() == Shape{6, 8, 8, 1});
  CHECK(rows(six, 3, 5) == rows(two, 0, 2));
  CHECK(rows(six, 0, 1) != rows(six, 1, 2));
  // Sample 3 has label 3 because labels are taken in turn. --class gives label 3 to sample 2 too.
  const Tensor threes = draw("threes", {"--count", "2", "--first", "2", "--class", "3"});
  CHECK(rows(threes, 1, 2) == rows(six, 3, 4));
  const Tensor teacher = draw("teacher", {"--count", "6", "--stage", "teacher", "--steps", "4"});
  CHECK(teacher.shape() == six.shape());
  CHECK(bytes(teacher) != bytes(six));
  CHECK(bytes(draw("heun", {"--count", "6", "--stage", "teacher", "--steps", "4", "--solver", "heun"})) != bytes(teacher));
  refused(run("flowmap_sample", finished_run(), {"--npz", (folder / "x.npz").string(), "--grid=", "--count", "1", "--solver", "sde", "-q"}), exit_code::usage, "--solver sde is for the teacher");
}

TEST_CASE("flowmap_sample --class takes names of the data set or of --class-names") {
  TempFolder folder;
  const auto draw = [&](const Arguments& more) {
    const fs::path npz = folder / "a.npz";
    succeeds(run("flowmap_sample", finished_run(), Arguments{"--npz", npz.string(), "--grid=", "--count", "2"} + more));
    return NpzReader(npz).read("arr_0").to_vector<std::uint8_t>();
  };
  const std::vector<std::string> names = class_names_of("shapes");
  const auto third = draw({"--class", "3"});
  CHECK(draw({"--class", names[3]}) == third);
  write_atomically(folder / "names.txt", "a\nb\nc\nmy class\ne\nf\ng\nh\ni\nj\n");
  CHECK(draw({"--class", "My Class", "--class-names", (folder / "names.txt").string()}) == third);
  refused(run("flowmap_sample", finished_run(), {"--class", "dog", "-q"}), exit_code::usage, "labels 'dog': no class has that name; there are 10");
}

TEST_CASE("samples.png is at most 4096 pixels wide; samples.png and previews have room for class names") {
  const Image grid = read_image(finished_run() / "samples.png"), preview = read_image(finished_run() / "mfd/samples/step-00000012.png");
  CHECK(grid.width <= 4096);
  CHECK(grid.width > 10 * 20);
  for (const auto& file : contents(finished_run()))         // all ten classes are shown, so no message names a selection
    if (file.first.ends_with("log.txt")) CHECK_MESSAGE(!has(file.second, "samples.png shows"), file.first);
  CHECK(preview.width > 10 * 20);
}

TEST_CASE("samples.png leaves out the block of two calls if the flow map supports only one") {
  TempFolder folder;
  copy_stages(folder / "run", {"judge", "encoder", "decoder", "fm", "cmt"});
  succeeds(train("pipeline", folder / "run", {"--mfd.objective.pairs.one_share", "1", "--mft.loop.steps", "0", "--evaluate.samples", "20", "-q"}));
  // The blocks have four rows of 8 pixels, shown larger. Both grids have a block for the teacher and one for the map in
  // one call. This run has no block for the map in two calls.
  const int three = read_image(finished_run() / "samples.png").height, two = read_image(folder / "run/samples.png").height;
  CHECK(three - two > 4 * 8);
  CHECK(three - two < two / 2);
}

TEST_CASE("flowmap_sample --reconstruct writes the autoencoder's reconstructions and reports their error") {
  TempFolder folder;
  const fs::path pngs = folder / "in", npz = folder / "out.npz", grid = folder / "grid.png";
  succeeds(run("flowmap_sample", finished_run(), {"--count", "2", "--pngs", pngs.string(), "--grid="}));
  const std::string files = (pngs / "000000.png").string() + "," + (pngs / "000001.png").string();
  const Result result = run("flowmap_sample", finished_run(),
                            {"--reconstruct", files, "--grid", grid.string(), "--npz", npz.string(), "--rounding", "nearest", "--pngs",
                             (folder / "out").string()});
  succeeds(result);
  const Tensor out = NpzReader(npz).read("arr_0");
  REQUIRE(out.shape() == Shape{2, 8, 8, 1});
  const std::vector<double> y = out.to_vector<double>();
  std::size_t at = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "000000.png" : "000001.png";
    const Image x = read_image(pngs / name), same = read_image(folder / "out" / name);
    double error = 0;
    for (std::size_t k = 0; k < 64; ++k) {
      error += std::pow((y[64 * i + k] - x.pixels[k]) / 255, 2) / 64;
      CHECK(y[64 * i + k] == same.pixels[k]);
    }
    at = result.err.find("reconstructed at ", at) + 17;
    CHECK_MESSAGE(near(std::stod(result.err.substr(at)), -10 * std::log10(error), 0.02), result.err);
  }
  CHECK(read_image(grid).height > read_image(pngs / "000000.png").height * 2);
  refused(run("flowmap_sample", finished_run(), {"--reconstruct", (folder / "no.png").string(), "-q"}), exit_code::unreadable, "no.png");
  const std::string here = (pngs / "000000.png").string(), there = (folder / "out/000000.png").string();
  refused(run("flowmap_sample", finished_run(), {"--reconstruct", here, "--pngs", pngs.string(), "-q"}), exit_code::usage,
          "is in this folder and would be replaced");
  refused(run("flowmap_sample", finished_run(), {"--reconstruct", here + "," + there, "--pngs", (folder / "b").string(), "-q"}),
          exit_code::usage, "would become");
}

TEST_CASE("inspect prints a checkpoint's tensors and a step's tape") {
  const Result checkpoint = run("inspect", {}, {"--checkpoint", (finished_run() / "mfd").string() + ":ema"});
  succeeds(checkpoint);
  for (const char* part : {"ema.safetensors", "step        12", "blocks.0.attn", "\"mfd\""})
    CHECK_MESSAGE(has(checkpoint.out, part), checkpoint.out);
  const Result bare =
      run("inspect", {}, {"--checkpoint", (finished_run() / "judge/judge.safetensors").string(), "--no-tensors"});
  succeeds(bare);
  CHECK(!has(bare.out, "rms"));
  const Result step = run("inspect", {}, {"--step", "mf", "--tape"});
  succeeds(step);
  for (const char* part : {"nodes on the tape", "linear", "in all", "peak of the whole step", "weights"})
    CHECK_MESSAGE(has(step.out, part), step.out);
  CHECK(lines(step.out) > lines(run("inspect", {}, {"--step", "mf"}).out) + 10);
  refused(run("inspect", {}, {"-q"}), exit_code::usage, "--checkpoint");
  refused(run("inspect", {}, {"--checkpoint", finished_run().string()}), exit_code::unreadable, "name one of ");
  refused(run("inspect", {}, {"--checkpoint", (finished_run() / "none").string()}), exit_code::unreadable, "none");
}

TEST_CASE("evaluate --only gives the table of one stage and refuses an unknown stage") {
  TempFolder folder;
  const std::string csv = (folder / "one.csv").string();
  const Result one = run("evaluate", finished_run(), {"--only", "mfd", "--csv", csv, "--samples", "20"});
  succeeds(one);
  CHECK(has(one.out, "mfd"));
  CHECK(lines(read_file(csv)) == 3);
  CHECK(lines(one.out) == 3);  // one heading, and each row once
  refused(run("evaluate", finished_run(), {"--only", "mfx", "-q"}), exit_code::usage, "mfx");
}
