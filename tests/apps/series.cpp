// Sequences, vectors and the user's own arrays with the real programs: training with both networks, scores, report, resume, and errors before training.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "apps/cli/program.h"
#include "flowmap/training/chain/score_file.h"
#include "tensor/io/npy.h"
#include "tensor/random/fill.h"
#include "tests/support/child.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const std::string config = FM_TESTS_FOLDER "/../configs/series.toml";
const Arguments few{"--fm.loop.steps", "6", "--cmt.loop.steps", "2", "--mfd.loop.steps", "6", "--evaluate.samples", "40", "--evaluate.teacher-points", "3", "--threads", "1"};
const Arguments transformer{"--network", "dit_dh"}, mlp{"--network", "mlp"};

Result run(const std::string& program, const Arguments& arguments) {
  return run_program_file(own_folder().parent_path() / "apps" / program, arguments);
}

Result pipeline(const fs::path& out, const std::string& data, const Arguments& more) {
  return run("flowmap_train", Arguments{"pipeline", "--config", config, "--data", data, "--out", out.string()} + few + more);
}

// Random values (n, shape...) of unit variance.
std::string normal_rows(const fs::path& file, const std::vector<std::int64_t>& shape) {
  Shape all;
  for (const std::int64_t d : shape) all.push_back(d);
  write_npy<float>(file, shape, random_normal(all, {1, 1}).to_vector<float>());
  return "arrays:" + file.string();
}

Score score_of(const fs::path& out, const std::string& name, std::int64_t calls) {
  for (const Score& s : newest_scores(read_scores(out / "scores.csv")))
    if (s.name == name && s.calls == calls) return s;
  FAIL("no score of " << name << " in " << calls << " calls");
  return {};
}

}  // namespace

TEST_CASE("the transformer trains on series, resumes and is evaluated; log, scores and report show sizes, statistics and curves") {
  const TempFolder folder;
  const fs::path out = folder / "series";
  const Result plan = pipeline(out, "sines?length=32,count=200", transformer + Arguments{"--dry-run"});
  REQUIRE_MESSAGE(plan.code == 0, plan.err);
  CHECK_MESSAGE(has(plan.err, "200 samples of [1, 32], 4 classes"), plan.err);
  CHECK_FALSE(fs::exists(out));
  const Result r = pipeline(out, "sines?length=32,count=200", transformer);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(has(r.err, "DiT^DH 64x2 + 64x1, sequences [1, 32] in 8 tokens"), r.err);
  const Score s = score_of(out, "mfd", 1);
  CHECK(s.metric("energy_distance") > 0.01);                           // the distance is not small after so few steps
  CHECK(s.metric("power_error") > 0.1);
  CHECK(s.metric("correlation_error") > 0);
  CHECK(s.metric("mean_error") > 0);
  CHECK(s.metric("variance_error") > 0);
  CHECK(s.samples == 40);
  const std::string report = read_file(out / "report.html");
  for (const char* part : {"Samples and data", "test data</text>", "mfd, 1 call</text>", ">autocorrelation</text>", ">position</text>", "1 and 5", "<td>noise itself</td>", ">power error</th>"})
    CHECK_MESSAGE(has(report, part), part);
  CHECK_FALSE(fs::exists(out / "samples.png"));

  const Result longer = pipeline(out, "sines?length=32,count=200", transformer + Arguments{"--mfd.loop.steps", "8"});
  REQUIRE_MESSAGE(longer.code == 0, longer.err);
  CHECK(score_of(out, "mfd", 1).step == 8);
  CHECK(has(read_file(out / "report.html"), "mfd of step 8"));
  const Result again = run("evaluate", {"--out", out.string(), "-q", "--evaluate.samples", "20"});
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK_MESSAGE(has(again.out, "energy mean error variance error correlation error power error"), again.out);
  CHECK(score_of(out, "mfd", 2).samples == 20);
  CHECK(score_of(out, "teacher", 2).samples == 20);

  const Result picture = run("flowmap_sample", {"--out", out.string(), "--reconstruct", "dog.png", "-q"});
  CHECK(picture.code == exit_code::usage);
  CHECK_MESSAGE(has(picture.err, "--reconstruct: space \"identity\" has no autoencoder: samples [1, 32] of sines?length=32,count=200 are their own latents; "
                                 "leave --reconstruct out to generate samples, with --npz FILE"), picture.err);
  CHECK_MESSAGE(lines(picture.err) == 1, picture.err);
}

TEST_CASE("the MLP trains on labeled vectors, the transformer on (length, channels) rows and on latents that are not square") {
  const TempFolder folder;
  {
    NpzWriter actions(folder / "actions.npz");
    actions.add("x", {400, 14}, random_normal({400, 14}, {1, 1}).to_vector<float>());
    std::vector<std::int64_t> y;
    for (std::int64_t i = 0; i < 400; ++i) y.push_back(i % 3);
    actions.add("y", {400}, y);
    actions.finish();
  }
  const fs::path vectors = folder / "vectors";
  const Result made = pipeline(vectors, "arrays:" + (folder / "actions.npz").string(), mlp);
  REQUIRE_MESSAGE(made.code == 0, made.err);
  CHECK(score_of(vectors, "mfd", 1).classes == 3);
  CHECK(std::isfinite(score_of(vectors, "mfd", 1).metric("energy_distance")));
  CHECK_FALSE(score_of(vectors, "mfd", 1).metrics.contains("power_error"));          // elements of a vector have no order
  CHECK(has(read_file(vectors / "report.html"), ">element</text>"));

  const Result chunks = pipeline(folder / "chunks", normal_rows(folder / "chunks.npy", {200, 16, 3}) + "?layout=lc", transformer);
  REQUIRE_MESSAGE(chunks.code == 0, chunks.err);
  CHECK_MESSAGE(has(chunks.err, "sequences [3, 16] in 4 tokens"), chunks.err);
  CHECK(has(read_file(folder / "chunks" / "report.html"), "autocorrelation, channel 2</text>"));

  const Result latents = pipeline(folder / "latents", normal_rows(folder / "latents.npy", {100, 2, 4, 8}), transformer);
  REQUIRE_MESSAGE(latents.code == 0, latents.err);
  CHECK(has(read_file(folder / "latents" / "report.html"), "position, row by row"));
}

TEST_CASE("series whose shape, type or number does not fit the network are refused in one line before training") {
  const TempFolder folder;
  const auto refused = [&](const std::string& data, const std::string& text, int code = exit_code::usage) {
    const Result r = pipeline(folder / "run", data, transformer + Arguments{"-q"});
    CHECK_MESSAGE(r.code == code, r.err);
    CHECK_MESSAGE(has(r.err, text), r.err);
    CHECK_MESSAGE(lines(r.err) == 1, r.err);
    CHECK_FALSE(fs::exists(folder / "run" / "fm"));
  };
  refused("sines?length=50", "dit.patch_size 4 does not divide samples [1, 50] of sines?length=50: set it to a divisor of 50");
  refused(normal_rows(folder / "vectors.npy", {40, 14}), "are [14]: set network = \"mlp\"");
  refused(normal_rows(folder / "few.npy", {11, 2, 8}), "the test split has 1 sample; an evaluation needs 4 at least", exit_code::unreadable);
  refused(normal_rows(folder / "flat.npy", {40, 8}) + "?layout=lc", "rows are [8]; layout=lc needs [length, channels]");
  write_npy<std::uint8_t>(folder / "levels.npy", {40, 2, 8}, std::vector<std::uint8_t>(640, 1));
  refused("arrays:" + (folder / "levels.npy").string(), "are u8 [2, 8]; it needs f32 values: encode images (space = \"rae\"), or save the numbers as float32");
  std::vector<float> values(640, 0.5f);
  values[37] = std::nanf("");
  write_npy<float>(folder / "nan.npy", {40, 2, 8}, values);
  refused("arrays:" + (folder / "nan.npy").string(), "row 2 has nan at [0, 5]: remove the row or replace the value", exit_code::unreadable);
  refused("arrays:" + (folder / "none.npy").string(), "none.npy", exit_code::unreadable);
}
