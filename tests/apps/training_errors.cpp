// flowmap_train on configs/tiny_shapes.toml: messages of faults, after which existing files are unchanged.
#include <doctest/doctest.h>

#include "tests/apps/tiny_run.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("errors of the command or the config are one line, with exit code 2") {
  TempFolder folder;
  write_atomically(folder / "file", "in the way");
  write_atomically(folder / "typo.toml", "[fm.loop]\nstpes = 3\n");
  const auto fails = [&](const std::string& stage, const Arguments& more, const std::string& message) {
    refused(train(stage, folder / "run", more + Arguments{"-q"}), exit_code::usage, message);
  };
  fails("fm", {"--deterministic"}, "--deterministic was removed: results have the same bits in every run");
  fails("fm", {"--no-deterministic"}, "--no-deterministic was removed");
  fails("fm", {"--set", "deterministic=false"}, "--set: deterministic was removed");
  write_atomically(folder / "old.toml", "deterministic = false\n" + read_file(config_file));
  const auto with_config = [&](const std::string& stage, const char* config, const Arguments& more) {
    return run_program_file(own_folder().parent_path() / "apps" / "flowmap_train",
                            Arguments{stage, "--config", (folder / config).string(), "--threads", "1"} + more);
  };
  refused(with_config("fm", "typo.toml", {"--out", (folder / "run").string()}), exit_code::usage, "did you mean 'fm.loop.steps'?");
  refused(with_config("fm", "old.toml", {"--out", (folder / "run").string()}), exit_code::usage, "old.toml:1: deterministic was removed");
  write_atomically(folder / "old.toml", "deterministic = true\n" + read_file(config_file));       // a removed key with the value that had no effect is accepted
  succeeds(with_config("judge", "old.toml", {"--out", (folder / "old").string(), "--steps", "2"}));
  if (cuda_device_count() == 0) fails("fm", {"--device", "cuda"}, "--device cuda: no CUDA device");
  fails("judge", {"--image-size", "28"}, "image_size 28");
  fails("judge", {"--data", "shapse"}, "unknown data set 'shapse'");
  fails("fm", {"--rae.encoder.patch-size", "3"}, "patch_size 3 does not divide image_size 8");
  fails("fm", {"--rae.encoder.patch-size", "0"}, "rae.encoder.patch_size = 0 is out of range (1 to 4096, divides image_size)");
  fails("judge", {"--classes", "1"}, "change the config or --data");
  fails("mft", {"--steps", "0"}, "mft.loop.steps is 0");
  fails("judge", {"--data", "shapes?size=16,count=20"}, "the config says image_size 8: change the config or --data");
  fails("fm", {"--dit.heads", "0"}, "dit.heads = 0 is out of range (1 to 1024, divides width)");
  fails("fm", {"--dit.heads", "3"}, "config: dit.heads = 3 does not divide dit.width = 16");
  for (const char* stage : {"judge", "fm", "pipeline"}) {
    CAPTURE(stage);
    refused(train(stage, folder / "file", {"-q"}), exit_code::usage, "file");
    refused(train(stage, folder / "file/run", {"-q"}), exit_code::usage, "file");
  }
  CHECK(!fs::exists(folder / "run/fm"));
  copy_stages(folder / "velocity", {"encoder", "decoder", "fm", "cmt"});
  refused(train("mfd", folder / "velocity", {"--velocity", "teahcer", "-q"}), exit_code::usage, "there is no velocity 'teahcer'");
  refused(run("flowmap_sample", folder / "velocity", {"--class", "10", "-q"}), exit_code::usage, "0 to 9");
  refused(run("flowmap_sample", folder / "velocity", {"--stage", "mft", "--grid=", "--npz=", "-q"}), exit_code::unreadable, "mft");
}

TEST_CASE("unreadable data and weights are named in one line, with exit code 3") {
  TempFolder folder;
  const fs::path out = folder / "run", pictures = folder / "pictures";
  refused(train("judge", out, {"--data", "folder:" + (folder / "none").string() + "?size=8,channels=1", "-q"}), exit_code::unreadable,
          "none");
  fs::create_directories(pictures / "train/a");
  fs::create_directories(pictures / "test/a");
  fs::create_symlink(folder / "gone.png", pictures / "train/a/lost.png");
  write_atomically(pictures / "train/a/broken.png", "\x89PNG\r\n\x1a\n and no more");
  const Result lost = train("judge", out, {"--data", "folder:" + pictures.string() + "?size=8,channels=1", "-q"});
  CHECK(lost.code == exit_code::unreadable);
  for (const char* name : {"lost.png", "broken.png"}) CHECK_MESSAGE(has(lost.err, name), lost.err);

  refused(train("fm", out, {"-q"}), exit_code::unreadable,
          "encoder.safetensors: run `flowmap_train encoder`");  // the earlier stages were not trained
  copy_stages(out, {"encoder", "decoder", "fm"});
  const fs::path weights = out / "encoder/encoder.safetensors";
  const std::string bytes = read_file(weights);
  const auto before = contents(out / "fm");
  write_atomically(weights, bytes.substr(0, bytes.size() / 2));
  refused(train("fm", out, {"--steps", "40", "-q"}), exit_code::unreadable, "encoder.safetensors");
  write_atomically(weights, bytes);
  refused(train("fm", out, {"--steps", "40", "--dit.width", "32", "-q"}), exit_code::unreadable, "the run was made with another config");
  for (const auto& entry : before) {
    const std::string& name = entry.first;
    if (name.starts_with("checkpoints")) CHECK_MESSAGE(read_file(out / "fm" / name) == entry.second, name);
  }
  succeeds(train("fm", out, {"--steps", "26"}));
}

TEST_CASE("a loss that is not finite gives exit code 4 and keeps the last checkpoint") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"encoder", "decoder", "fm"});
  const auto before = contents(out / "fm/checkpoints");
  refused(train("fm", out, {"--steps", "36", "--lr", "1e30", "-q"}), exit_code::diverged, "last checkpoint is intact");
  CHECK(contents(out / "fm/checkpoints") == before);
  CHECK(has(read_file(out / "fm/run.json"), "\"exit_code\": 4"));
  const Result on = train("fm", out, {"--steps", "26"});
  succeeds(on);
  CHECK_MESSAGE(has(on.err, "resuming from"), on.err);
}
