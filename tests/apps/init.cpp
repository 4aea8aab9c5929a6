// flowmap_train init: makes from a folder of images a config with which training, sampling and scoring work without editing.
#include "apps/cli/toml.h"
#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/score_file.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/picture_folder.h"

using namespace fm;
using namespace fm::test;

namespace {

Result program(const std::string& name, const Arguments& arguments) { return run_program_file(own_folder().parent_path() / "apps" / name, arguments); }
Result init(const std::string& data, const fs::path& out, const Arguments& more = {}) {
  return program("flowmap_train", Arguments{"init", "--data", data, "--out", out.string(), "--budget", "1s", "--threads", "1"} + more);
}

Recipe read_config(const fs::path& file) {
  Recipe r;
  load_toml_file(list_fields(r), file);
  return r;
}

}  // namespace

TEST_CASE("init for gray images writes a working config for training, sampling and evaluation") {
  const TempFolder folder;
  const fs::path pictures = folder / "pictures", out = folder / "run", config = out / "config.toml";
  draw_picture_folder(pictures, {.width = 12, .height = 8, .grey = true, .counts = {24, 24}});
  const std::string data = "folder:" + pictures.string();
  const Result made = init(data, out);
  succeeds(made);
  for (const char* said : {"44 grey images of 12x8 pixels for training and 4 for the test; 2 classes: class0 22, class1 22", "timed: images of 8x8", "evaluation", "memory ",
                           "processes of the machine ran or waited for a core", "fewer steps than a result worth looking at"})
    CHECK_MESSAGE(has(made.err, said), made.err);
  CHECK(has(made.err, "next     flowmap_train pipeline --config " + config.string() + " --out " + out.string() + " --threads 1\n"));
  CHECK(fs::exists(config));
  CHECK(std::distance(fs::directory_iterator(out), fs::directory_iterator()) == 1);      // the rehearsal's files are removed
  const std::string text = read_file(config);
  for (const char* row : {"# all ", "# processor ", "# evaluation "}) CHECK_MESSAGE(has(text, row), text);
  CHECK(read_config(config).data == data + "?size=8,channels=1");

  const Arguments of_run{"--config", config.string(), "--out", out.string(), "--threads", "1"};
  succeeds(program("flowmap_train", Arguments{"pipeline", "--dry-run"} + of_run));
  succeeds(program("flowmap_train", Arguments{"pipeline"} + of_run));
  CHECK(fs::exists(out / "report.html"));
  std::vector<std::string> names;
  for (const Score& s : read_scores(out / "scores.csv")) names.push_back(s.name);
  CHECK(names == std::vector<std::string>{"teacher", "cmt", "cmt", "mfd", "mfd"});
  succeeds(program("flowmap_sample", Arguments{"--count", "4", "--grid", (folder / "grid.png").string()} + of_run));
  succeeds(program("evaluate", Arguments{"--evaluate.samples", "10"} + of_run));

  const Result again = init(data, out);                                                  // a second init changes nothing
  refused(again, exit_code::usage, "config.toml exists, and init overwrites no file");
  CHECK(read_file(config) == text);
}

TEST_CASE("init for images above 32 pixels configures an autoencoder, warns about uneven classes, and its config passes a dry run") {
  const TempFolder folder;
  const fs::path pictures = folder / "pictures", out = folder / "run";
  draw_picture_folder(pictures, {.width = 48, .height = 40, .counts = {30, 12, 10}});
  const Result made = init("folder:" + pictures.string(), out, {"--size", "40"});
  succeeds(made);
  for (const char* said : {"color images of 48x40", "encoder", "decoder", "classes differ in size, 9 to 27 samples"}) CHECK_MESSAGE(has(made.err, said), made.err);
  const Recipe r = read_config(out / "config.toml");
  CHECK(r.space == "rae");
  CHECK(r.encoder.loop.steps == 10);
  CHECK(r.fm.loop.rate.decay_end == r.fm.loop.steps);
  succeeds(program("flowmap_train", {"pipeline", "--dry-run", "--config", (out / "config.toml").string(), "--out", out.string(), "--threads", "1"}));
}

TEST_CASE("errors of init are one line, and no file is written") {
  const TempFolder folder;
  const fs::path pictures = folder / "pictures", out = folder / "run";
  fs::create_directories(pictures);
  const std::string data = "folder:" + pictures.string();
  refused(init(data, out), exit_code::unreadable, "no images for training");
  refused(init("folder:" + (folder / "none").string(), out), exit_code::unreadable, "none: no such folder");
  draw_picture_folder(pictures, {.counts = {40}});
  refused(init(data, out), exit_code::usage, "one class of images (class0)");
  draw_picture_folder(pictures, {.counts = {40, 12}});
  refused(init("points:moons", out), exit_code::usage, "configs/toy.toml");
  refused(init(data, out, {"--budget", "30"}), exit_code::usage, "--budget");
  refused(init("shapes?count=200,size=16", out, {"--size", "32", "-q"}), exit_code::usage, "--size 32");
  CHECK(!fs::exists(out));
  const auto bare = [](const Arguments& more) { return program("flowmap_train", Arguments{"init"} + more); };
  refused(bare({"--out", out.string()}), exit_code::usage, "--data is missing");
  refused(bare({"--data", data}), exit_code::usage, "--out is missing");
}
