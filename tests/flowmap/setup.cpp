// The facts of a data set, the config that follows from them, and the division of a budget of time into steps.
#include "flowmap/training/setup/setup.h"

#include <doctest/doctest.h>

#include <numeric>
#include <sstream>

#include "data/source.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/resources.h"
#include "nn/config/toml_text.h"
#include "tensor/io/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/picture_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

DataFacts facts_of(const TempFolder& folder, const DrawnPictures& pictures) {
  draw_picture_folder(folder.path(), pictures);
  return look_at("folder:" + folder.path().string());
}

Recipe resolved(const DataFacts& facts, const Choice& choice) {
  Recipe r = recipe_of(propose(facts, choice));
  r.resolve_with_data();
  return r;
}

std::string value_of(const std::vector<Setting>& settings, const std::string& key) {
  for (const Setting& s : settings)
    if (s.key == key) return s.value;
  return "no " + key;
}

// A rehearsal on all training samples, in which each step of a stage takes `step` seconds.
Rehearsal times_of(const DataFacts& f, const Recipe& r, double step) {
  Rehearsal t{.samples = f.train, .data = 2, .evaluation = 3, .sample = 0.01};
  for (const StageSpec& s : stage_table())
    if (s.in_pipeline(r)) t.stages.push_back({s.name, step, 0.5});
  return t;
}

// The time of a run, computed by hand. Reading, encoding and comparing take `scale` times as long as in the rehearsal.
double seconds_of(const Choice& c, const DataFacts& f, const Rehearsal& t, double scale = 1) {
  double sum = scale * (t.data + t.evaluation) + t.sample * static_cast<double>(c.samples + 4 * f.classes());
  for (const StageTime& s : t.stages) sum += s.around + s.step * static_cast<double>(c.steps.at(s.stage));
  return sum;
}

}  // namespace

TEST_CASE("color images that are not square are cut to their shorter side and modeled as pixels") {
  const TempFolder folder;
  const DataFacts f = facts_of(folder, {.width = 40, .height = 32, .counts = {20, 20, 20, 20}});
  CHECK(f.pictures);
  CHECK(f.channels == 3);
  CHECK(f.side == 32);
  CHECK(f.least_width == 40);
  CHECK(f.most_height == 32);
  CHECK(f.train == 72);
  CHECK(f.test == 8);
  CHECK(f.class_counts == std::vector<std::int64_t>{18, 18, 18, 18});
  CHECK(sides_for(f) == std::vector<std::int64_t>{32});
  const std::vector<Setting> settings = propose(f, {.side = 32});
  CHECK(value_of(settings, "data") == f.data + "?size=32");
  CHECK(value_of(settings, "space") == "pixels");
  CHECK(value_of(settings, "dit.patch_size") == "4");
  const Recipe r = resolved(f, {.side = 32});
  CHECK(r.classes == 4);
  CHECK(r.latent_shape() == Shape{3, 32, 32});
  for (const StageSpec& s : stage_table()) CHECK_NOTHROW(check_settings(s, r, 1));
}

TEST_CASE("large images in classes of uneven size: several sides are offered, and the run trains its own encoder") {
  const TempFolder folder;
  const DataFacts f = facts_of(folder, {.width = 256, .height = 256, .counts = {30, 12, 10}});
  CHECK(f.class_counts == std::vector<std::int64_t>{27, 11, 9});
  CHECK(sides_for(f) == std::vector<std::int64_t>{256, 128, 64, 32});
  for (const std::int64_t side : {256, 128, 64}) {
    for (std::size_t rung = 0; rung < rungs_for(f); ++rung) {
      CAPTURE(side);
      CAPTURE(rung);
      const Recipe r = resolved(f, {.side = side, .rung = rung});
      CHECK(r.space == "rae");
      CHECK(r.latent_shape()[1] == (side == 256 ? 16 : 8));
      CHECK(r.encoder.local_size * 2 == side);
      CHECK(r.encoder.loop.steps > 0);
    }
  }
}

TEST_CASE("gray images are read with one channel, from files with one channel or three") {
  const TempFolder one, three;
  CHECK(facts_of(one, {.width = 28, .height = 28, .grey = true}).channels == 1);
  DataFacts f = facts_of(three, {.width = 28, .height = 28});
  CHECK(f.channels == 3);
  for (int i = 0; i < 20; ++i)
    for (const char* name : {"class0", "class1"}) write_png(three / name / fmt::format("{:04}.png", i), blank_image(28, 28, 3, 90));
  f = look_at("folder:" + three.path().string());
  CHECK(f.channels == 1);
  const std::vector<Setting> settings = propose(f, {.side = 28});
  CHECK(value_of(settings, "data") == f.data + "?size=28,channels=1");
  CHECK(resolved(f, {.side = 28}).latent_shape() == Shape{1, 28, 28});
}

TEST_CASE("for images of many sizes, the side is one that all but the smallest 5 % of the images have") {
  const TempFolder folder;
  draw_picture_folder(folder / "small", {.width = 12, .height = 20, .counts = {1, 1}});
  draw_picture_folder(folder.path() / "all", {.width = 50, .height = 70, .counts = {40, 40}});
  for (const char* name : {"class0", "class1"}) std::filesystem::rename(folder / "small" / name / "0000.png", folder / "all" / name / "small.png");
  const DataFacts f = look_at("folder:" + (folder / "all").string());
  CHECK(f.least_width <= 50);
  CHECK(f.most_height == 70);
  CHECK(f.side == 50);
  CHECK(sides_for(f) == std::vector<std::int64_t>{48, 32});
}

TEST_CASE("a side given in the data's name is kept, and is refused if no patch size divides it") {
  const TempFolder folder;
  draw_picture_folder(folder.path(), {});
  const std::string data = "folder:" + folder.path().string();
  const DataFacts f = look_at(data + "?size=20,channels=1");
  CHECK_FALSE(f.open_size);
  CHECK(f.channels == 1);
  CHECK(sides_for(f) == std::vector<std::int64_t>{20});
  CHECK(value_of(propose(f, {.side = 20}), "data") == data + "?size=20,channels=1");
  CHECK(value_of(propose(f, {.side = 20}), "dit.patch_size") == "4");
  CHECK(has(error_of<ConfigError>([&] { propose(f, {.side = 23}); }), "sides of 23 pixels"));
  const DataFacts shapes = look_at("shapes?count=200,size=16");
  CHECK(sides_for(shapes) == std::vector<std::int64_t>{16});
  CHECK(resolved(shapes, {.side = 16}).latent_shape() == Shape{3, 16, 16});
}

TEST_CASE("arrays: vectors get an MLP, long sequences get a transformer over tokens") {
  const TempFolder folder;
  const auto saved = [&](const char* name, std::vector<std::int64_t> shape) {
    std::vector<float> values(static_cast<std::size_t>(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) - 8;
    write_npy(folder / name, shape, std::span<const float>(values));
    return look_at("arrays:" + (folder / name).string());
  };
  const DataFacts vectors = saved("vectors.npy", {60, 14});
  CHECK_FALSE(vectors.pictures);
  CHECK(value_of(propose(vectors, {}), "network") == "mlp");
  CHECK(resolved(vectors, {}).latent_shape() == Shape{14});
  const DataFacts series = saved("series.npy", {60, 5, 128});
  CHECK(value_of(propose(series, {}), "network") == "dit_dh");
  CHECK(resolved(series, {}).latent_shape() == Shape{5, 128});
  const DataFacts planes = saved("planes.npy", {60, 5, 16, 16});
  CHECK(resolved(planes, {}).latent_shape() == Shape{5, 16, 16});
  CHECK(has(error_of<ConfigError>([&] { saved("points.npy", {60, 2}); }), "configs/toy.toml"));
}

TEST_CASE("data that cannot be learned from are refused with a remedy") {
  const TempFolder folder;
  const std::string data = "folder:" + folder.path().string();
  CHECK(has(error_of<FileError>([&] { look_at(data); }), "no images for training"));
  draw_picture_folder(folder.path(), {.counts = {50}});
  CHECK(has(error_of<ConfigError>([&] { look_at(data); }), "one class of images (class0)"));
  std::filesystem::remove_all(folder / "class0");
  draw_picture_folder(folder.path(), {.counts = {10, 10}});
  CHECK(has(error_of<FileError>([&] { look_at(data); }), "18 samples for training and 2 for the test; an evaluation needs 4"));
  const TempFolder tiny;
  CHECK(has(error_of<ConfigError>([&] { facts_of(tiny, {.width = 6, .height = 6}); }), "6 pixels; 8 at least"));
  CHECK(has(error_of<ConfigError>([&] { look_at("flodder:x"); }), "unknown data set 'flodder'"));
}

TEST_CASE("the generated config has every setting, with the reasons as comments") {
  const TempFolder folder;
  const DataFacts f = facts_of(folder, {.width = 64, .height = 64});
  const std::vector<Setting> settings = propose(f, {.side = 64, .steps = {{stage_name::fm, 700}}});
  const std::string text = config_text("one\n\ntwo\n", settings);
  CHECK(text.starts_with("# one\n#\n# two\ndata = \""));
  CHECK(has(text, "[fm.loop]\nsteps = 700"));
  CHECK(has(text, "[fm.loop.rate]"));
  CHECK(has(text, "# pixels of a token's side: 8x8 tokens"));
  std::size_t assignments = 0;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) assignments += has(line, " = ");
  CHECK(assignments == settings.size());
  CHECK(error_of<ConfigError>([] { recipe_of({{"fm.loop.stpes", "1", ""}}); }).find("fm.loop.steps") != std::string::npos);
}

TEST_CASE("a time budget is used up, divided between the stages, and limited by the amount of data") {
  const TempFolder folder;
  const DataFacts small = facts_of(folder, {.width = 64, .height = 64, .counts = {200, 200}});
  Choice c{.side = 64};
  const Recipe r = resolved(small, c);
  const Rehearsal t = times_of(small, r, 0.1);
  fill_budget(c, small, r, t, 600);
  CHECK(near(seconds_of(c, small, t), 600, 0.06));                       // steps are rounded down to two digits
  CHECK(near(static_cast<double>(c.steps.at(stage_name::fm)) / static_cast<double>(c.steps.at(stage_name::mfd)), 0.40 / 0.17, 0.1));
  CHECK(c.samples == 2000);                                              // 2,000 samples take 23 s; the evaluation may take at most 72 s
  fill_budget(c, small, r, t, 150);
  CHECK(c.samples == 1000);
  CHECK(seconds_of(c, small, t) < 150);
  fill_budget(c, small, r, t, 1);
  for (const auto& entry : c.steps) CHECK(entry.second == 10);
  fill_budget(c, small, r, t, 1e7);
  CHECK(c.steps.at(stage_name::fm) == 3000 * 360 / stage_loop(r, stage_name::fm).batch);     // 3,000 passes over 360 images
  CHECK(c.steps.at(stage_name::cmt) == 5000);

  Rehearsal part = t;                                                    // the rehearsal had a tenth of the samples: the run reads and encodes ten times as many
  part.samples = small.train / 10, part.data = 12;
  fill_budget(c, small, r, part, 600);
  CHECK(near(seconds_of(c, small, part, 10), 600, 0.06));

  const Choice pixels{.side = 32};                                       // pixels need four of the six stages; the shares of these four are scaled to a sum of 1
  Choice d = pixels;
  const Recipe without = resolved(small, pixels);
  const Rehearsal of_four = times_of(small, without, 0.1);
  CHECK(of_four.stages.size() == 4);
  fill_budget(d, small, without, of_four, 600);
  CHECK(near(seconds_of(d, small, of_four), 600, 0.06));
}

TEST_CASE("the sizes of checkpoints and data in bytes agree with values computed by hand") {
  const TempFolder folder;
  const DataFacts f = facts_of(folder, {});
  Recipe r = resolved(f, {.side = 16, .steps = {{stage_name::fm, 100}}});
  CHECK(memory_of_data(r, 10) == 10 * (3 * 16 * 16 + 4 * 3 * 16 * 16));  // 8-bit levels, and pixels as f32
  const StageSpec& fm_stage = stage_named(stage_name::fm);
  CHECK(checkpoint_bytes(r, fm_stage) == 3.0 * 16 * static_cast<double>(fm_stage.parameters(r).all));      // three checkpoints: two that are kept and one that is being written
  r.latents.from = "images";
  CHECK(memory_of_data(r, 10) == 0);
}
