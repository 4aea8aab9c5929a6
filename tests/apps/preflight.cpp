// Checks before the first step, with the real programs: the test split, sources of later stages, memory, disk space, and the config
// in the run. Each fault gives one line, nothing is trained, and no folder of a run appears.
#include <doctest/doctest.h>

#include <fstream>

#include "data/image_file.h"
#include "data/png.h"
#include "tensor/io/npy.h"
#include "tests/apps/tiny_run.h"

using namespace fm;
using namespace fm::test;

namespace {

// Writes `count` images of 8x8 pixels into each of these folders.
void pictures(const fs::path& root, const std::vector<std::pair<std::string, int>>& folders, const char* ending = ".png") {
  for (const auto& [name, count] : folders) {
    fs::create_directories(root / name);
    for (int i = 0; i < count; ++i) {
      Image image = blank_image(8, 8, 1, 20);
      for (int y = 2; y < 6; ++y) *image.at(y, 2 + i % 4) = std::uint8_t(180 + i % 60);
      if (std::string(ending) == ".png") write_png(root / name / (std::to_string(i) + ending), image);
      else write_atomically(root / name / (std::to_string(i) + ending), "not read");
    }
  }
}

std::string spec(const fs::path& root) { return "folder:" + root.string() + "?size=8,channels=1"; }

// Checks that a run and a dry run are refused before a step, and before a folder exists.
void refused_before(const std::string& stage, const fs::path& out, const Arguments& more, int code, const std::string& message) {
  const Result result = train(stage, out, more + Arguments{"-q"});
  refused(result, code, message);
  CHECK_FALSE(fs::exists(out));
  const Result planned = train(stage, out, more + Arguments{"-n"});
  CHECK_MESSAGE(planned.code == code, planned.err);
  CHECK_MESSAGE(has(planned.err, message), planned.err);
}

std::vector<std::string> config_lines(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (has(line, "config")) found.push_back(line);
  return found;
}

}  // namespace

TEST_CASE("a test split that is missing or too small for the judge or the evaluation is refused") {
  TempFolder folder;
  const fs::path out = folder / "run";
  pictures(folder / "one", {{"train/apple", 30}, {"train/berry", 30}, {"test/apple", 1}});
  pictures(folder / "none", {{"train/apple", 30}, {"train/berry", 30}});
  pictures(folder / "few", {{"apple", 5}, {"berry", 5}});
  pictures(folder / "heic", {{"train/apple", 30}, {"test/apple", 5}});
  pictures(folder / "heic", {{"train/berry", 30}}, ".heic");
  const Arguments none{"--data", spec(folder / "none")}, few{"--data", spec(folder / "few")};
  refused_before("pipeline", out, {"--data", spec(folder / "one")}, exit_code::unreadable,
                 "the test split has 1 image; an evaluation needs 4 at least (one more than evaluate.k = 3)");
  refused_before("judge", out, none, exit_code::unreadable, "there is train/ but neither test/ nor val/");
  refused_before("pipeline", out, none, exit_code::unreadable, "there is train/ but neither test/ nor val/");
  refused_before("judge", out, few, exit_code::unreadable, "no images for the test");
  refused_before("judge", out, {"--data", spec(folder / "heic")}, exit_code::unreadable, "no image of berry (30 .heic) can be read");
  refused_before("pipeline", out, {"--evaluate.samples", "10", "--k", "10"}, exit_code::usage, "evaluate.samples = 10 is too small for evaluate.k = 10");
  // Training only the judge needs one image. A class without images is reported.
  const Result judge = train("judge", out, {"--data", spec(folder / "one"), "--steps", "2"});
  succeeds(judge);
  CHECK_MESSAGE(has(judge.err, "no images of 1 of 2 classes: berry"), judge.err);
}

TEST_CASE("folders without images are left out with a warning that counts the remaining classes and images") {
  TempFolder folder;
  pictures(folder / "d", {{"train/apple", 30}, {"train/berry", 30}, {"test/apple", 5}, {"test/berry", 5}, {"train/__pycache__", 0}});
  const Result result = train("judge", folder / "run", {"--data", spec(folder / "d"), "--steps", "2"});
  succeeds(result);
  CHECK_MESSAGE(has(result.err, "left out: __pycache__; 2 classes and 60 images remain"), result.err);
  CHECK(has(read_file(folder / "run/judge/config.toml"), "\nclasses = 2 "));
}

TEST_CASE("a missing source of a later stage is reported before the earlier stages are trained") {
  TempFolder folder;
  const fs::path out = folder / "run";
  refused_before("pipeline", out, {"--encoder.loop.steps", "0"}, exit_code::usage, "a later stage needs encoder, but encoder.loop.steps is 0");
  refused_before("pipeline", out, {"--decoder.loop.steps", "0"}, exit_code::usage, "a later stage needs decoder");
  refused_before("pipeline", out, {"--fm.loop.steps", "0"}, exit_code::usage, "a later stage needs fm");
  refused_before("pipeline", out, {"--cmt.loop.steps", "0"}, exit_code::usage, "mfd begins from the stage cmt, but cmt.loop.steps is 0");
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt"});        // these stages exist now, so the same flags are accepted
  const Arguments rest{"--encoder.loop.steps", "0", "--decoder.loop.steps", "0", "--fm.loop.steps", "0", "--cmt.loop.steps", "0",
                       "--judge.loop.steps", "0", "--mft.loop.steps", "0", "-n"};
  succeeds(train("pipeline", out, rest));
}

TEST_CASE("a batch that needs more memory than the machine has is refused at once, with the remedy") {
  TempFolder folder;
  const fs::path out = folder / "run";
  for (const std::string stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"}) {
    CAPTURE(stage);
    const Result result = train(stage, out, {"--batch", "1000000000", "-q"});
    refused(result, exit_code::usage, stage + " needs about ");
    CHECK_MESSAGE(has(result.err, " has "), result.err);
    CHECK_MESSAGE(has(result.err, "lower " + stage + ".loop.micro_batch (now the batch of 1000000000)"), result.err);
  }
  CHECK_FALSE(fs::exists(out));
  for (const Arguments& command : {Arguments{"--step", "mf"}, Arguments{"--step", "fm"}, Arguments{"--profile", "mfd"}, Arguments{"--profile", "fm"}})
    refused(run("inspect", {}, command + Arguments{"--fm.loop.batch", "1G", "--mfd.loop.batch", "1G", "-q"}), exit_code::usage, " needs about ");
  // A dry run may plan for another machine, so it only warns.
  const Result planned = train("fm", out, {"--batch", "1000000000", "-n"});
  succeeds(planned);
  CHECK_MESSAGE(has(planned.err, "warning: fm needs about "), planned.err);
  // A stage that has begun is checked like a new one; a finished stage is not checked.
  copy_stages(folder / "begun", {"fm"});
  const Result longer = train("fm", folder / "begun", {"--batch", "1000000000", "--steps", "100", "-n"});
  succeeds(longer);
  CHECK_MESSAGE(has(longer.err, "warning: fm needs about "), longer.err);
  const Result finished = train("fm", folder / "begun", {"--batch", "1000000000", "-n"});
  succeeds(finished);
  CHECK_MESSAGE(!has(finished.err, "needs about "), finished.err);
  refused(train("fm", out, {"--data", "shapes?count=4294967296,size=8,channels=1", "-q"}), exit_code::usage, "4294967296 images take 256.0 GiB in memory");
}

TEST_CASE("a list of class names is refused if its lines are not as many as the classes") {
  refused(run("flowmap_sample", finished_run(), {"--class-names", "imagenet", "-q"}), exit_code::usage, "1000 lines, but there are 10 classes");
}

TEST_CASE("training is refused if the disk has too little space for the kept checkpoints") {
  TempFolder folder;
  const fs::path out = folder / "run";
  // 10^9 checkpoints of some hundred KiB, which no disk holds.
  const Arguments many{"--steps", "1G", "--ckpt-every", "1", "--keep-every", "1"};
  const Result result = train("fm", out, many + Arguments{"-q"});
  refused(result, exit_code::unreadable, "the checkpoints of fm need about ");
  CHECK_MESSAGE(has(result.err, "are free there: free space, lower fm.loop.keep, or choose another --out"), result.err);
  CHECK_FALSE(fs::exists(out));
  const Result planned = train("fm", out, many + Arguments{"-n"});
  succeeds(planned);
  CHECK_MESSAGE(has(planned.err, "the checkpoints of fm need about "), planned.err);
}

TEST_CASE("without --config every program that takes --out reads the run's own config") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt", "mfd"});
  const auto bare = [&](const std::string& program, const Arguments& more) {
    return run_program_file(own_folder().parent_path() / "apps" / program, more + Arguments{"--out", out.string(), "--threads", "1"});
  };
  const auto reads = [&](const Result& result, const std::string& stage) {
    succeeds(result);
    const std::string line = "config: " + (out / stage / "config.toml").string() + ", the run's own (no --config is given)";
    CHECK_MESSAGE(has(result.err, line), result.err);
    CHECK_MESSAGE(!has(result.err, "values that are not given are defaults"), result.err);
  };
  reads(bare("flowmap_train", {"fm", "--steps", "30"}), "fm");           // the config of the stage itself
  reads(bare("flowmap_train", {"mft", "--steps", "2", "-n"}), "mfd");    // for a new stage, the config of the furthest existing one
  reads(bare("flowmap_sample", {"--count", "2", "--npz", (folder / "own.npz").string(), "--grid="}), "mfd");
  reads(bare("evaluate", {"--stage", "mfd", "--samples", "20"}), "mfd");
  reads(bare("ablate", {"-n", "--what", "init"}), "mfd");
  // The images are the same as with --config.
  succeeds(run("flowmap_sample", out, {"--count", "2", "--npz", (folder / "given.npz").string(), "--grid="}));
  CHECK(NpzReader(folder / "own.npz").read("arr_0").to_vector<std::uint8_t>() ==
        NpzReader(folder / "given.npz").read("arr_0").to_vector<std::uint8_t>());
  // Flags override the config of the run. Keys of another version are skipped with a warning.
  std::ofstream(out / "mfd/config.toml", std::ios::app) << "\n[of_another_version]\nkey = 1\n";
  const Result changed = bare("flowmap_sample", {"--count", "1", "--grid=", "--npz", (folder / "c.npz").string(), "--seed", "5"});
  succeeds(changed);
  CHECK_MESSAGE(has(changed.err, "unknown key 'of_another_version.key'; left out"), changed.err);
  CHECK(config_lines(changed.err).size() == 2);
}

TEST_CASE("a config that differs from the run's is reported if the difference changes what the weights compute") {
  const Result heads = run("flowmap_sample", finished_run(), {"--dit.heads", "4", "--count", "1", "--grid=", "--npz", "/dev/null/x.npz"});
  CHECK_MESSAGE(has(heads.err, "this is not the config that the run was made with ("), heads.err);
  CHECK_MESSAGE(has(heads.err, "dit.heads was 2, is 4"), heads.err);
  TempFolder folder;
  const Arguments same{"--count", "1", "--grid=", "--npz", (folder / "a.npz").string(), "--seed", "3", "--stage", "teacher", "--guidance", "2"};
  const Result fine = run("flowmap_sample", finished_run(), same);
  succeeds(fine);
  CHECK_MESSAGE(!has(fine.err, "not the config"), fine.err);

  // Another path of the same file is no difference.
  const fs::path out = folder / "given", encoder = finished_run() / "encoder/encoder.safetensors", copy = folder / "copy.safetensors";
  fs::copy(encoder, copy);
  const auto warned = [&](const fs::path& file) {
    const Result result = train("fm", out, {"--encoder-weights", file.string()});
    succeeds(result);
    return has(result.err, "not the config");
  };
  CHECK_FALSE(warned(encoder));
  CHECK_FALSE(warned(finished_run() / "encoder/../encoder/encoder.safetensors"));
  CHECK(warned(copy));
}

TEST_CASE("latents and statistics of other data are refused") {
  TempFolder folder;
  const fs::path out = folder / "run", d = folder / "d";
  pictures(d, {{"train/apple", 30}, {"train/berry", 30}, {"test/apple", 5}, {"test/berry", 5}});
  const Arguments data{"--data", spec(d), "--latents", "cache"};
  for (const char* stage : {"encoder", "encode"}) succeeds(train(stage, out, data));
  succeeds(train("fm", out, data + Arguments{"--steps", "1", "--sample_every", "-1"}));
  const auto fails = [&](const Arguments& more, const std::string& message) {
    fs::remove_all(out / "fm");
    fs::remove(out / "stats.safetensors");
    refused(train("fm", out, more + Arguments{"-q"}), exit_code::usage, message);
  };
  fs::copy(d, folder / "other", fs::copy_options::recursive);
  fails({"--data", spec(folder / "other"), "--latents", "cache"}, "but this run's data is folder:" + (folder / "other").string());
  write_png(d / "train/apple/new.png", blank_image(8, 8, 1, 9));
  fails(data, "holds latents of 60 images, but " + spec(d) + " has 61 now");
  fs::remove(d / "train/apple/new.png");
  fs::rename(d / "train/berry", d / "train/cherry");
  fails(data, "class 1 was named 'berry' when these latents were made");
  fs::rename(d / "train/cherry", d / "train/berry");
  fs::rename(d / "train/berry/0.png", d / "train/apple/z.png");
  write_png(d / "train/berry/y.png", blank_image(8, 8, 1, 9));
  fs::remove(d / "train/berry/1.png");
  fails(data, "was of class");
  fs::remove_all(d);                                                      // training from the cache does not need the images
  fs::remove_all(out / "fm");
  const Result alone = train("fm", out, data + Arguments{"--steps", "1", "--sample_every", "-1"});
  succeeds(alone);
  CHECK_MESSAGE(has(alone.err, "not compared with its images, which are not available"), alone.err);

  // The run has statistics that were computed from other images.
  const fs::path next = folder / "next";
  copy_stages(next, {"encoder"});
  refused(train("fm", next, {"--data", "shapes?count=100,size=8,channels=1", "-q"}), exit_code::usage,
          "mean and variance of the latents of shapes?count=200,size=8,channels=1, but this run's data is shapes?count=100");
}
