// configs/toy.toml: points in the plane, an MLP, no images. Checks the numbers in the documents, that the report agrees with scores.csv,
// and the errors of programs that need images.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "apps/cli/program.h"
#include "data/points.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/training/chain/score_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
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

// Runs docs/examples/one_step.cpp on this run. Its printed numbers must follow from the samples that it writes, and be close to the map's score.
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

TEST_CASE("the toy's flow map samples in one call nearly as well as its teacher in fifty") {
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
  CHECK(asked_again({"--evaluate.samples", "400"}));       // other settings are not answered with old scores
  CHECK(asked_again({"--evaluate.samples", "400", "--seed", "9"}));
  CHECK(read_scores(out / "scores.csv").back().seed == 9);

  const Result pictures = run("flowmap_sample", {"--out", out.string(), "--count", "4", "--grid", (folder / "x.png").string()});
  CHECK(pictures.code == exit_code::usage);
  CHECK_MESSAGE(has(pictures.err, "--grid are for images, but samples of this run are [2]"), pictures.err);
  const Result nowhere = run("flowmap_sample", {"--out", out.string(), "--count", "4"});
  CHECK(nowhere.code == exit_code::usage);
  CHECK_MESSAGE(has(nowhere.err, "give --npz FILE for their values"), nowhere.err);
  const Result picture = run("flowmap_sample", {"--out", out.string(), "--reconstruct", "x.png"});
  CHECK_MESSAGE(has(picture.err, "--reconstruct: space \"identity\" has no autoencoder: samples [2] of points:8gaussians are their own latents"), picture.err);
  const Result values = run("flowmap_sample", {"--out", out.string(), "--count", "4000", "--npz", (folder / "x.npz").string(), "-q"});
  REQUIRE_MESSAGE(values.code == 0, values.err);
  const Tensor drawn = NpzReader(folder / "x.npz").read("arr_0");
  REQUIRE(drawn.shape() == Shape{4000, 2});
  CHECK(energy_distance(drawn, Points({.name = "8gaussians"}, Split::test).rows(consecutive(0, 4000))) < 0.03);
}

TEST_CASE("the toy config also trains on time series, which are scored by their values") {
  const TempFolder folder;
  const fs::path out = folder / "sines";
  const Arguments few{"--fm.loop.steps", "20", "--cmt.loop.steps", "4", "--mfd.loop.steps", "20", "--mfd.loop.batch", "16", "--fm.loop.batch", "16",
                      "--evaluate.samples", "200"};
  const Result r = run("flowmap_train", Arguments{"pipeline", "--config", config, "--data", "sines?count=64,length=32", "--out", out.string()} + few);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(fs::exists(out / "mfd" / "checkpoints" / "latest"));
  CHECK(fs::exists(out / "report.html"));
  CHECK_FALSE(fs::exists(out / "samples.png"));
  const Score score = score_of(out, "mfd", 1), teacher = score_of(out, "teacher", 50);
  CHECK(score.metric("frechet") > 0);
  CHECK(std::isfinite(teacher.metric("frechet")));
  CHECK(score.judge == "values");
  CHECK(std::isnan(score.accuracy));                       // without classes in these features there is no accuracy
  const Result alone = run("evaluate", {"--out", out.string(), "--stage", "mfd", "--csv", (folder / "own.csv").string(), "--features-out", (folder / "f.npz").string(), "-q"});
  REQUIRE_MESSAGE(alone.code == 0, alone.err);
  const std::vector<Score> own = read_scores(folder / "own.csv");
  REQUIRE(own.size() == 3);                                // one row each for 1, 2 and 4 calls
  CHECK(near(own[0].metric("frechet"), score.metric("frechet"), 1e-12));
  const NpzReader seen(folder / "f.npz");
  CHECK(seen.read("mfd_1").shape() == Shape{200, 32});
  CHECK(own[0].metric("energy_distance") == energy_distance(seen.read("mfd_1"), seen.read("reference")));
  CHECK(near(own[0].metric("energy_distance"), score.metric("energy_distance"), 1e-12));
  CHECK_MESSAGE(has(alone.out, "Frechet precision    recall    energy"), alone.out);
  const Result judged = run("evaluate", {"--out", out.string(), "--evaluate.features", "judge"});
  CHECK(judged.code == exit_code::usage);
  CHECK_MESSAGE(has(judged.err, "evaluate.features judge is for images"), judged.err);
}

namespace {

// Writes 8gaussians with columns in other units: deviations of about 50 and 0.2, means 300 and -4.
void write_stretched(const fs::path& file) {
  const Tensor points = Points({}, Split::train).rows(consecutive(0, 6000));
  std::vector<float> values = points.to_vector<float>();
  for (std::size_t i = 0; i < values.size(); i += 2) values[i] = 50 * values[i] + 300, values[i + 1] = 0.2f * values[i + 1] - 4;
  write_npy<float>(file, {6000, 2}, values);
}

}  // namespace

TEST_CASE("identity.normalize trains on samples of any scale, scores in their units, and refuses stages with another normalization") {
  const TempFolder folder;
  write_stretched(folder / "x.npy");
  const std::string data = "arrays:" + (folder / "x.npy").string();
  const Arguments few{"--data", data, "--fm.loop.steps", "2000", "--fm.loop.rate.decay_end", "2000", "--cmt.loop.steps", "4", "--mfd.loop.steps", "4", "--evaluate.samples", "600"};
  const auto trained = [&](const std::string& name, const Arguments& more) {
    const Result r = run("flowmap_train", Arguments{"pipeline", "--config", config, "--out", (folder / name).string()} + few + more);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    return r;
  };
  const Result plain = trained("plain", {}), scaled = trained("scaled", {"--identity.normalize", "true"});
  CHECK_MESSAGE(has(plain.err, "set identity.normalize = true"), plain.err);
  CHECK_FALSE(has(scaled.err, "set identity.normalize = true"));
  CHECK(fs::exists(folder / "scaled/stats.safetensors"));
  CHECK_FALSE(fs::exists(folder / "plain/stats.safetensors"));
  // Noise with the data's mean and variance has an energy distance of 1.6.
  CHECK(score_of(folder / "scaled", "teacher", 50).metric("energy_distance") < 0.8);
  CHECK(score_of(folder / "plain", "teacher", 50).metric("energy_distance") > 3);

  const Safetensors stats(folder / "scaled/stats.safetensors");
  CHECK(near_within(stats["mean"].to_vector<double>()[0], 300, 5));
  CHECK(near(stats["var"].to_vector<double>()[1], 0.04, 0.1));

  const std::string out = (folder / "scaled").string();
  const Result drawn = run("flowmap_sample", {"--out", out, "--stage", "teacher", "--calls", "50", "--count", "600", "--npz", (folder / "x.npz").string(), "-q"});
  REQUIRE_MESSAGE(drawn.code == 0, drawn.err);
  const std::vector<float> values = NpzReader(folder / "x.npz").read("arr_0").to_vector<float>();
  double mean = 0;
  for (std::size_t i = 0; i < values.size(); i += 2) mean += static_cast<double>(values[i]) / 600;
  CHECK(near_within(mean, 300, 15));                       // samples have the units of the data, not of the normalized space

  const Result other = run("flowmap_train", Arguments{"mfd", "--config", config, "--out", out} + few);
  CHECK(other.code == exit_code::usage);
  CHECK_MESSAGE(has(other.err, "another latent space (statistics"), other.err);
  const Result late = run("flowmap_train", Arguments{"mfd", "--config", config, "--out", (folder / "plain").string(), "--identity.normalize", "true"} + few);
  CHECK(late.code == exit_code::usage);
  CHECK_MESSAGE(has(late.err, "another latent space (statistics none"), late.err);
  write_npy<float>(folder / "x.npy", {40, 2}, std::vector<float>(80, 1.0f));
  const Result changed = run("flowmap_train", Arguments{"fm", "--config", config, "--out", out, "--identity.normalize", "true"} + few);
  CHECK(changed.code == exit_code::usage);
  CHECK_MESSAGE(has(changed.err, "mean and variance of other samples"), changed.err);
}

TEST_CASE("settings that do not fit together are refused before training") {
  const TempFolder folder;
  const auto refused = [&](const Arguments& more, const std::string& text) {
    const Result r = run("flowmap_train", Arguments{"pipeline", "--config", config, "--out", (folder / "run").string()} + more);
    CHECK(r.code == exit_code::usage);
    CHECK_MESSAGE(has(r.err, text), r.err);
    CHECK_FALSE(fs::exists(folder / "run"));
  };
  refused({"--network", "dit_dh"}, "network dit_dh models samples [channels, length] or [channels, height, width]; those of points:8gaussians are [2]: set network = \"mlp\"");
  refused({"--space", "rae"}, "points:8gaussians: samples are f32 [2]; ");
  refused({"--data", "shapes?count=100,size=8"}, "space identity: samples of shapes");
  refused({"--guidance", "2"}, "guidance needs networks with labels");
  refused({"--map.objective.name", "guided_mean_flow", "--map.loop.steps", "2"}, "map.objective guides its targets by labels, and this run has none: set conditional = true");
  refused({"--map.objective.name", "imm", "--map.loop.steps", "2", "--map.loop.batch", "30"}, "map: its objective takes rows in groups of 16: change loop.batch = 30 to a multiple of this number");
  refused({"--latents", "cache"}, "latents.from cache is for latents of images");
  refused({"--latents.flip", "true"}, "latents.flip is for images");
  const Result stats = run("flowmap_train", {"stats", "--config", config, "--out", (folder / "run").string()});
  CHECK(stats.code == exit_code::usage);
  CHECK_MESSAGE(has(stats.err, "stage stats is for space = \"rae\""), stats.err);
}
