// What reads a run, as a user meets it, on configs/tiny_shapes.toml: samples, reconstructions, scores, what a checkpoint holds, ablations.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "data/image_file.h"
#include "nn/checkpoint_folder.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("flowmap_sample: sample i is the same picture wherever it is drawn") {
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
  // Sample 3 has label 3 by turns, and sample 2 gets it by --class.
  const Tensor threes = draw("threes", {"--count", "2", "--first", "2", "--class", "3"});
  CHECK(rows(threes, 1, 2) == rows(six, 3, 4));
  const Tensor teacher = draw("teacher", {"--count", "6", "--stage", "teacher", "--steps", "4"});
  CHECK(teacher.shape() == six.shape());
  CHECK(bytes(teacher) != bytes(six));
  CHECK(bytes(draw("heun", {"--count", "6", "--stage", "teacher", "--steps", "4", "--solver", "heun"})) != bytes(teacher));
}

TEST_CASE("flowmap_sample --reconstruct: pictures through the autoencoder, and how near they come back") {
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
          "lies there and would be replaced");
  refused(run("flowmap_sample", finished_run(), {"--reconstruct", here + "," + there, "--pngs", (folder / "b").string(), "-q"}),
          exit_code::usage, "another file becomes");
}

TEST_CASE("inspect: a checkpoint and a step") {
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
  refused(run("inspect", {}, {"--checkpoint", finished_run().string()}), exit_code::unreadable, "name one, ");
  refused(run("inspect", {}, {"--checkpoint", (finished_run() / "none").string()}), exit_code::unreadable, "none");
}

TEST_CASE("evaluate: the table of a run, or of one stage") {
  TempFolder folder;
  const std::string csv = (folder / "one.csv").string();
  const Result one = run("evaluate", finished_run(), {"--only", "mfd", "--csv", csv, "--samples", "20"});
  succeeds(one);
  CHECK(has(one.out, "mfd"));
  CHECK(lines(read_file(csv)) == 3);
  CHECK(lines(one.out) == 3);  // each row once, under one head
  refused(run("evaluate", finished_run(), {"--only", "mfx", "-q"}), exit_code::usage, "mfx");
}

TEST_CASE("ablate: every table") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt"});
  const std::map<std::string, long> rows{{"derivative", 3}, {"init", 3}, {"scheme", 3}};
  for (const auto& row : rows) {
    const std::string& what = row.first;
    const long count = row.second;
    CAPTURE(what);
    const Arguments steps{"--what",          what, "--mfd.loop.steps",   "4", "--deltas", "0.1,0.01",
                          "--timing-rounds", "1",  "--evaluate.samples", "20"};
    const Result result = run("ablate", out, steps);
    succeeds(result);
    const std::string csv = read_file(out / "ablate" / what / "table.csv");
    CHECK_MESSAGE(lines(csv) == 1 + count, csv);
    CHECK_MESSAGE(!has(csv, "diverged"), csv);
    const std::string report = read_file(out / "ablate" / what / "report.html");
    CHECK(has(report, "<table"));
    CHECK(has(report, "<svg") == (what == "derivative"));
    const Result again = run("ablate", out, steps);
    succeeds(again);
    CHECK_MESSAGE(has(again.err, "ablate/" + what), again.err);
    CHECK_MESSAGE(!has(again.err, "step 4/4"), again.err);  // finds its stages done
  }
  CHECK(has(read_file(out / "ablate/scheme/mfd-then-mft-first/run.json"), "\"last_step\": 2"));
}

TEST_CASE("ablate: precisions side by side, and steps of untrained networks") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt"});
  const Arguments both{"--precisions", "f32,bf16", "--deltas", "0.01", "--timing-rounds", "1", "--mfd.loop.steps", "4", "--evaluate.samples", "20"};
  const Result result = run("ablate", out, both);
  succeeds(result);
  const std::string csv = read_file(out / "ablate/derivative/table.csv");
  for (const char* row : {"\njvp,", "\nfd-0.01,", "\njvp-bf16,", "\nfd-0.01-bf16,"}) CHECK_MESSAGE(has(csv, row), csv);
  CHECK(has(read_file(out / "ablate/derivative/jvp-bf16/config.toml"), "precision = \"bf16\""));
  CHECK(has(read_file(out / "ablate/derivative/jvp/config.toml"), "precision = \"f32\""));

  const Result untrained = run("ablate", folder / "none", both + Arguments{"--untrained"});
  succeeds(untrained);
  std::istringstream table(read_file(folder / "none/ablate/untrained/table.csv"));
  std::map<std::string, double> error;
  for (std::string line; std::getline(table, line);) {
    const auto comma = line.find(',');
    error[line.substr(0, comma)] = std::atof(line.c_str() + comma + 1);
  }
  CHECK(error.at("jvp") < 1e-5);
  CHECK(error.at("jvp-bf16") < 0.05);
  CHECK(error.at("fd-0.01-bf16") > 3 * error.at("jvp-bf16"));     // its rounding is divided by the step
  CHECK(!fs::exists(folder / "none/ablate/derivative"));
  refused(run("ablate", folder / "none", {"--untrained", "--what", "init", "-q"}), exit_code::usage, "only --what derivative");
}

TEST_CASE("ablate: a variant that diverges is a row, what cannot be compared is refused") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt"});
  const Arguments few{"--mfd.loop.steps", "4", "--mfd.loop.ckpt_every", "1", "--evaluate.samples", "20"};
  const Result result = run("ablate", out, few + Arguments{"--what", "scheme", "--mfd.loop.rate.peak", "1e30"});
  succeeds(result);
  CHECK_MESSAGE(has(read_file(out / "ablate/scheme/table.csv"), "mfd,-,-,-,-,diverged,diverged\n"), result.err);
  refused(run("ablate", out, few + Arguments{"--init-from", (out / "cmt").string(), "-q"}), exit_code::usage,
          "each variant has its own start");
  refused(run("ablate", out, few + Arguments{"--resume", (out / "cmt").string(), "-q"}), exit_code::usage, "a path is for one stage");
  refused(run("ablate", out, few + Arguments{"--deltas", "0.1,0", "-q"}), exit_code::usage, "deltas");
}

TEST_CASE("ablate --dry-run lists the variants and writes nothing") {
  TempFolder folder;
  const std::map<std::string, std::vector<std::string>> wanted{
      {"derivative", {"student", "parameters", "jvp           from cmt", "12 steps of 16", "derivative central, step 0.01"}},
      {"init", {"random        from random", "from fm", "from cmt"}},
      {"scheme", {"velocity one-point", "6 steps of 16, velocity teacher, derivative jvp, then 6 steps of 16, velocity one-point"}}};
  for (const auto& [what, parts] : wanted) {
    const Result result = run("ablate", folder / "run", {"--dry-run", "--what", what, "--deltas", "0.1,0.01"});
    succeeds(result);
    for (const std::string& part : parts) CHECK_MESSAGE(has(result.err, part), result.err);
    CHECK_MESSAGE(lines(result.err) == 2 + 1 + 3, result.err);  // the flags, the sizes, the variants
  }
  const Result untrained = run("ablate", folder / "run", {"--dry-run", "--untrained", "--deltas", "0.1,0.01"});
  succeeds(untrained);
  for (const std::string& part : wanted.at("derivative")) CHECK_MESSAGE(has(untrained.err, part), untrained.err);
  CHECK(!fs::exists(folder / "run"));
}
