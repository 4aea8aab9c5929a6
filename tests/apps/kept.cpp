// The files of a run after faults: unusual links, unreadable checkpoints, full disks, processes that end at the worst
// moment. With the real programs, on configs/tiny_shapes.toml.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "tests/apps/tiny_run.h"

using namespace fm;
using namespace fm::test;
namespace {

nlohmann::json last_session(const fs::path& stage) { return nlohmann::json::parse(read_file(stage / "run.json"))["sessions"].back(); }

void flip_byte(const fs::path& file) {
  std::string bytes = read_file(file);
  bytes[bytes.size() - 1] ^= 1;
  write_atomically(file, bytes);
}

void no_temporaries(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) CHECK_FALSE(has(entry.path().filename().string(), ".tmp-"));
}

// Runs a line of the shell in which "$0" is the real program.
Result shell(const std::string& line, const std::string& program = "flowmap_train") {
  return run_shell("export OMP_NUM_THREADS=1; " + line, own_folder().parent_path() / "apps" / program);
}

std::string of_tiny(const fs::path& out) { return " --config " + config_file + " --out " + out.string() + " "; }

}  // namespace

TEST_CASE("if a copy replaces the link `latest`, training resumes and restores the link") {
  TempFolder folder;
  const fs::path out = folder / "run", checkpoints = out / "fm/checkpoints";
  copy_stages(out, {"encoder", "decoder", "fm"});
  fs::remove(checkpoints / "latest");
  fs::copy(checkpoints / step_name(24), checkpoints / "latest");
  const Result result = train("fm", out, {"--steps", "36"});
  succeeds(result);
  CHECK(fs::read_symlink(checkpoints / "latest") == step_name(36));
  CHECK(std::distance(fs::directory_iterator(checkpoints), {}) == 3);       // two checkpoints and the link
}

TEST_CASE("a checkpoint of a newer version, or an unreadable one, is kept and stops training; no older one is used instead") {
  TempFolder folder;
  const fs::path out = folder / "run", newest = out / "mft/checkpoints" / step_name(8);
  copy_stages(out, {"encoder", "decoder", "fm", "cmt", "mfd", "mft"});
  const std::string state = read_file(newest / "state.json");
  std::string newer = state;
  newer.replace(newer.find("\"format_version\": 1"), 19, "\"format_version\": 2");
  write_atomically(newest / "state.json", newer);
  auto before = contents(out / "mft");
  refused(train("mft", out, {"--steps", "10", "-q"}), exit_code::unreadable, "format_version 2 is newer");
  auto after = contents(out / "mft");
  before.erase("log.txt"), after.erase("log.txt");
  CHECK(after == before);

  write_atomically(newest / "state.json", state);
  fs::rename(newest / "model.safetensors", newest / "away");
  fs::create_symlink("model.safetensors", newest / "model.safetensors");
  refused(train("mft", out, {"--steps", "10", "-q"}), exit_code::unreadable, "Too many levels of symbolic links");
  CHECK(fs::exists(newest / "away"));
  refused(run("flowmap_sample", out, {"--count", "1", "-q"}), exit_code::unreadable, "Too many levels of symbolic links");
  fs::rename(newest / "away", newest / "model.safetensors");

  // A stage that begins from the weights of another stage behaves the same.
  const fs::path start = out / "mfd/checkpoints" / step_name(newest_step(out / "mfd/checkpoints")) / "ema.safetensors";
  fs::rename(start, folder / "ema");
  fs::create_symlink("ema.safetensors", start);
  refused(train("mft", out, {"--fresh", "-q"}), exit_code::unreadable, "Too many levels of symbolic links");
  CHECK(!fs::exists(out / "mft.old-1"));
  fs::rename(folder / "ema", start);
  succeeds(train("mft", out, {"--steps", "10"}));
}

TEST_CASE("a damaged checkpoint and those after --resume PATH are moved aside; a truncated state.json is reported as such") {
  TempFolder folder;
  const fs::path out = folder / "run", checkpoints = out / "fm/checkpoints";
  copy_stages(out, {"encoder", "decoder", "fm"});
  flip_byte(checkpoints / step_name(24) / "optimizer.safetensors");
  const auto damaged = contents(checkpoints / step_name(24));
  const Result on = train("fm", out);
  succeeds(on);
  CHECK_MESSAGE(has(on.err, "resuming from " + (checkpoints / step_name(12)).string()), on.err);
  CHECK_MESSAGE(has(on.err, (checkpoints / (step_name(24) + ".damaged")).string() + " is kept"), on.err);
  CHECK(contents(checkpoints / (step_name(24) + ".damaged")) == damaged);
  CHECK(contents(checkpoints / step_name(24)) == contents(finished_run() / "fm/checkpoints" / step_name(24)));

  const Result older = train("fm", out, {"--resume", (checkpoints / step_name(12)).string()});
  succeeds(older);
  CHECK(contents(checkpoints / (step_name(24) + ".superseded")) == contents(checkpoints / step_name(24)));

  for (std::int64_t step : {12, 24}) fs::resize_file(checkpoints / step_name(step) / "state.json", 100);
  const Result cut = train("cmt", out, {"-q"});
  CHECK(cut.code == exit_code::unreadable);
  CHECK_MESSAGE(has(cut.err, "not a JSON object"), cut.err);
  CHECK_MESSAGE(!has(cut.err, "another config"), cut.err);
}

TEST_CASE("the next start completes a stage that was killed after its last checkpoint") {
  TempFolder folder;
  const fs::path out = folder / "run", stage = out / "mft", checkpoints = stage / "checkpoints";
  copy_stages(out, {"encoder", "decoder", "fm", "cmt", "mfd", "mft"});
  const std::string png = "samples/" + step_name(8) + ".png", config = read_file(stage / "config.toml");
  const auto damage = [&](bool ended) {
    fs::remove(stage / png);
    fs::remove(stage / "report.html");
    fs::remove(checkpoints / "latest");
    fs::create_symlink(step_name(4), checkpoints / "latest");
    auto json = nlohmann::ordered_json::parse(read_file(stage / "run.json"));
    auto& session = json["sessions"].back();
    if (ended) session["exit_code"] = 3;
    else session.erase("exit_code"), session.erase("ended");
    write_atomically(stage / "run.json", json.dump(2));
  };
  for (const bool ended : {false, true}) {
    damage(ended);
    const Result again = train("mft", out);
    succeeds(again);
    CHECK_MESSAGE(has(again.err, "mft: done (8 steps)"), again.err);
    CHECK(fs::read_symlink(checkpoints / "latest") == step_name(8));
    CHECK(read_file(stage / png) == read_file(finished_run() / "mft" / png));
    CHECK(fs::exists(stage / "report.html"));
    CHECK(last_session(stage)["exit_code"] == 0);
    CHECK(last_session(stage)["last_step"] == 8);
    CHECK(read_file(stage / "config.toml") == config);
  }
  const auto whole = contents(stage);
  succeeds(train("mft", out));                             // no file is missing, so none is written
  auto same = contents(stage);
  same["log.txt"] = whole.at("log.txt");
  CHECK(same == whole);
}

TEST_CASE("log, metric, report and sample files that cannot be written cause one warning each, and training continues") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"encoder", "decoder"});
  fs::create_directories(out / "fm/report.html/within");   // a folder in place of the report
  fs::create_directories(out / "fm/samples" / (step_name(24) + ".png") / "within");
  for (const char* file : {"metrics.jsonl", "log.txt"}) fs::create_symlink("/dev/full", out / "fm" / file);
  const Result result = train("fm", out, {"--log-every", "1", "--ckpt-every", "4"});
  succeeds(result);
  for (const std::string& what : {"warning: cannot write " + (out / "fm/log.txt").string(), std::string("warning: fm: metrics: "),
                                 std::string("warning: fm: report.html: "), std::string("warning: fm: samples: ")}) {
    CHECK_MESSAGE(result.err.find(what) != std::string::npos, result.err);
    CHECK_MESSAGE(result.err.find(what) == result.err.rfind(what), result.err);
  }
  CHECK(lines(read_file(out / "fm/metrics.csv")) == 25);
  CHECK(last_session(out / "fm")["exit_code"] == 0);
  for (const char* part : {"model", "ema", "optimizer"}) {
    const std::string file = std::string(part) + ".safetensors";
    CHECK(read_file(out / "fm/checkpoints" / step_name(24) / file) == read_file(finished_run() / "fm/checkpoints" / step_name(24) / file));
  }
}

TEST_CASE("a checkpoint that does not fit on the disk: exit code 3, no temporary files, and the previous one is kept") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"encoder", "decoder", "fm"});
  const auto before = contents(out / "fm/checkpoints");
  for (const int kib : {8, 40}) {
    const Result result = shell("ulimit -f " + std::to_string(2 * kib) + "; exec \"$0\" fm" + of_tiny(out) + "--steps 30 --log csv -q");
    CHECK(result.code == exit_code::unreadable);
    CHECK_MESSAGE(has(result.err, "File too large: the limit is"), result.err);
    no_temporaries(out);
    CHECK(contents(out / "fm/checkpoints") == before);
  }
  for (const char* command : {"encode", "decoder --fresh"}) {
    const Result result = shell("ulimit -f 4; exec \"$0\" " + std::string(command) + of_tiny(out) + "-q");
    CHECK_MESSAGE(result.code == exit_code::unreadable, command << result.err);
    no_temporaries(out);
  }
  const Result sample = shell("ulimit -f 1; exec \"$0\"" + of_tiny(finished_run()) + "--count 64 -q --grid " + (folder / "grid.png").string() + " --npz " + (folder / "a.npz").string(), "flowmap_sample");
  CHECK_MESSAGE(sample.code == exit_code::unreadable, sample.err);
  no_temporaries(folder.path());
}

TEST_CASE("the error of a diverged run names the last checkpoint, its loss, and how to resume before the explosion") {
  TempFolder folder;
  const fs::path out = folder / "run", checkpoints = out / "fm/checkpoints";
  copy_stages(out, {"encoder", "decoder"});
  const Result first = train("fm", out, {"--lr", "1e30", "-q", "--fm.loop.adamw.clip", "0"});
  refused(first, exit_code::diverged, "error: fm: ");
  CHECK_MESSAGE(has(first.err, "there is no checkpoint yet"), first.err);
  CHECK(!fs::exists(checkpoints));

  copy_stages(folder / "more", {"encoder", "decoder", "fm"});
  const fs::path more = folder / "more", kept = more / "fm/checkpoints";
  const Result again = train("fm", more, {"--steps", "36", "--lr", "1e30", "-q"});
  refused(again, exit_code::diverged, "the last checkpoint is intact: " + (kept / step_name(24)).string() + " (step 24, loss ");
  CHECK_MESSAGE(has(again.err, "may already contain the explosion"), again.err);
  CHECK_MESSAGE(has(again.err, "--resume " + (kept / step_name(12)).string()), again.err);
  const Result older = train("fm", more, {"--resume", (kept / step_name(12)).string(), "--lr", "1e30", "-q"});
  refused(older, exit_code::diverged, (kept / step_name(12)).string() + " (step 12, loss ");
  CHECK_MESSAGE(has(older.err, "begin anew with --fresh"), older.err);
  CHECK_MESSAGE(!has(older.err, "--resume"), older.err);
}

TEST_CASE("if data become unreadable during training, the finished steps are saved") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {});
  const fs::path sample = finished_run() / "samples.png";
  for (const char* place : {"train/a", "train/b", "test/a", "test/b"}) {
    const fs::path pictures = folder / "pictures" / place;
    fs::create_directories(pictures);
    for (int i = 0; i < 20; ++i) fs::copy(sample, pictures / (std::to_string(i) + ".png"));
  }
  const Result result = train("encoder", out, {"--data", "folder:" + (folder / "pictures").string() + "?size=8,channels=1", "--latents", "images", "--classes", "2",
                                               "--steps", "100000", "--ckpt-every", "100000", "--log-every", "1"}, [&](pid_t) {
    CHECK(wait_until([&] { return fs::exists(out / "encoder/metrics.csv") && lines(read_file(out / "encoder/metrics.csv")) > 3; }));
    for (const char* place : {"train/a", "train/b"}) fs::remove_all(folder / "pictures" / place);
  });
  CHECK(result.code == exit_code::unreadable);
  const std::int64_t step = newest_step(out / "encoder/checkpoints");
  CHECK(step >= 3);
  CHECK_MESSAGE(has(result.err, "encoder: saved at step " + std::to_string(step)), result.err);
}
