// configs/toy.toml: points in the plane, an MLP, no pictures. The numbers that the documents promise, a report that says what scores.csv says, and
// what happens to programs that need pictures.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "apps/support/program.h"
#include "apps/train/score_file.h"
#include "data/points.h"
#include "flowmap/metrics/energy.h"
#include "tensor/io/npy.h"
#include "tensor/random/fill.h"
#include "tests/support/child.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const std::string config = FM_TESTS_FOLDER "/../configs/toy.toml";

Result run(const std::string& program, const Arguments& arguments) {
  return run_program_file(own_folder().parent_path() / "apps" / program, arguments);
}

// docs/examples/one_step.cpp on this run: the samples that it writes are those of the numbers that it prints, which are about the map's score.
void check_one_step(const fs::path& out) {
  const fs::path example = own_folder() / "one_step", file = out / "one_step.npy";
  const Result r = run_program_file(example, {(out / "mfd").string(), file.string()});
  REQUIRE_MESSAGE(r.code == 0, r.err);
  const Tensor points = read_npy(file);
  REQUIRE(points.shape() == Shape{4000, 2});
  const double energy = energy_distance(points, Points({.name = "8gaussians"}, Split::test).rows(consecutive(0, 4000)));
  CHECK(energy < 0.03);
  CHECK_MESSAGE(has(r.out, fmt::format("energy distance {:.4f}\n", energy)), r.out);
  CHECK_MESSAGE(has(r.out, "mfd/checkpoints/step-00004000/ema.safetensors, step 4000"), r.out);
  const Result teacher = run_program_file(example, {(out / "fm").string(), file.string()});
  CHECK(teacher.code == 1);
  CHECK_MESSAGE(has(teacher.err, "in.weight"), teacher.err);
}

Score score_of(const fs::path& out, const std::string& name, std::int64_t calls) {
  for (const Score& s : newest_scores(read_scores(out / "scores.csv")))
    if (s.name == name && s.calls == calls) return s;
  FAIL("no score of " << name << " in " << calls << " calls");
  return {};
}

}  // namespace

TEST_CASE("the toy's flow map makes points in one call that its teacher needs fifty for") {
  const TempFolder folder;
  const fs::path out = folder / "toy";
  const Result r = run("flowmap_train", {"pipeline", "--config", config, "--out", out.string(), "-q"});
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(score_of(out, "mfd", 1).metric("energy_distance") < 0.03);
  CHECK(score_of(out, "mfd", 1).metric("map_error") < 0.2);
  CHECK(score_of(out, "teacher", 50).metric("energy_distance") < 0.002);
  CHECK(score_of(out, "teacher", 1).metric("energy_distance") > 0.5);
  CHECK(score_of(out, "mfd", 1).samples == 4000);
  CHECK(score_of(out, "mfd", 1).data == "points:8gaussians");
  check_one_step(out);

  const std::string report = read_file(out / "report.html");
  for (const char* part : {"mfd, 1 call", "teacher, 50 calls", "<svg", "energy distance"}) CHECK_MESSAGE(has(report, part), part);
  CHECK(has(report, fmt::format("{:.4f}", score_of(out, "mfd", 1).metric("energy_distance"))));

  const std::size_t rows = read_scores(out / "scores.csv").size();
  const Result again = run("evaluate", {"--out", out.string(), "-q"});
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(read_scores(out / "scores.csv").size() == 2 * rows);
  CHECK(near(score_of(out, "mfd", 2).metric("energy_distance"), read_scores(out / "scores.csv")[6].metric("energy_distance"), 1e-12));

  const auto asked_again = [&](const Arguments& more) {
    const Result same = run("flowmap_train", Arguments{"pipeline", "--config", config, "--out", out.string()} + more);
    REQUIRE_MESSAGE(same.code == 0, same.err);
    return !has(same.err, "already evaluated");
  };
  CHECK_FALSE(asked_again({}));
  CHECK(asked_again({"--evaluate.samples", "400"}));       // another question is no old answer
  CHECK(asked_again({"--evaluate.samples", "400", "--seed", "9"}));
  CHECK(read_scores(out / "scores.csv").back().seed == 9);

  const Result pictures = run("flowmap_sample", {"--out", out.string(), "--count", "4", "--grid", (folder / "x.png").string()});
  CHECK(pictures.code == exit_code::usage);
  CHECK_MESSAGE(has(pictures.err, "points:8gaussians"), pictures.err);
}

TEST_CASE("time series train too; what is made of points alone says that there is none") {
  const TempFolder folder;
  const fs::path out = folder / "sines";
  const Arguments few{"--fm.loop.steps", "20", "--cmt.loop.steps", "4", "--mfd.loop.steps", "20", "--mfd.loop.batch", "16", "--fm.loop.batch", "16"};
  const Result r = run("flowmap_train", Arguments{"pipeline", "--config", config, "--data", "sines?count=64,length=32", "--out", out.string()} + few);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(fs::exists(out / "mfd" / "checkpoints" / "latest"));
  CHECK_MESSAGE(has(r.err, "samples are [1, 32]"), r.err);
  CHECK_FALSE(fs::exists(out / "report.html"));
  CHECK_FALSE(has(r.err, "scores.csv"));
}

TEST_CASE("what does not fit together is said in one line before anything is trained") {
  const TempFolder folder;
  const auto refused = [&](const Arguments& more, const std::string& text) {
    const Result r = run("flowmap_train", Arguments{"pipeline", "--config", config, "--out", (folder / "run").string()} + more);
    CHECK(r.code == exit_code::usage);
    CHECK_MESSAGE(has(r.err, text), r.err);
    CHECK_FALSE(fs::exists(folder / "run"));
  };
  refused({"--network", "dit_dh"}, "network dit_dh models samples [channels, side, side]; those of points:8gaussians are [2]");
  refused({"--space", "rae"}, "points:8gaussians: samples are f32 [2]; ");
  refused({"--data", "shapes?count=100,size=8"}, "space identity: samples of shapes");
  refused({"--guidance", "2"}, "guidance needs networks that are told labels");
  refused({"--latents", "cache"}, "latents.from cache: is for latents of pictures");
  refused({"--latents.flip", "true"}, "latents.flip is for pictures");
  const Result stats = run("flowmap_train", {"stats", "--config", config, "--out", (folder / "run").string()});
  CHECK(stats.code == exit_code::usage);
  CHECK_MESSAGE(has(stats.err, "stage stats is for latents of pictures"), stats.err);
}
