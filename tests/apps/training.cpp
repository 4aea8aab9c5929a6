// flowmap_train, run as a user would, on configs/tiny_shapes.toml: the chain up to its report, stopped in every way and resumed with the same bits.
// Errors and their texts: training_errors.cpp.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "data/image_file.h"
#include "flowmap/objective/list.h"
#include "nn/checkpoint_folder.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;
namespace {

std::vector<std::string> split(const std::string& line, char separator) {
  std::vector<std::string> parts;
  std::stringstream in(line);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

// metrics.csv without the columns that depend on the machine and the time.
std::vector<std::vector<std::string>> measured(const fs::path& csv) {
  const std::set<std::string> varying{"time", "samples_per_second", "memory_mib", "tensor_peak_mib", "tensor_held_mib"};
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> names;
  for (const std::string& line : split(read_file(csv), '\n')) {
    const auto cells = split(line, ',');
    if (names.empty()) names = cells;
    rows.emplace_back();
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (!varying.contains(names.at(i))) rows.back().push_back(cells[i]);
  }
  return rows;
}

void same_training(const fs::path& a, const fs::path& b, const std::string& stage) {
  const auto wanted = contents(a / stage / "checkpoints"), found = contents(b / stage / "checkpoints");
  std::set<std::string> names;
  for (const auto& entry : wanted) {
    const std::string &name = entry.first, &bytes = entry.second;
    names.insert(fs::path(name).filename().string());
    REQUIRE_MESSAGE(found.contains(name), stage << ": " << name);
    if (name.ends_with(".safetensors")) CHECK_MESSAGE(found.at(name) == bytes, stage << ": " << name);
  }
  for (const char* part : {"model.safetensors", "optimizer.safetensors", stage == "encoder" ? "state.safetensors" : "ema.safetensors"})
    CHECK(names.contains(part));
  const auto rows = measured(a / stage / "metrics.csv");
  CHECK(rows.size() > 1);
  CHECK(rows == measured(b / stage / "metrics.csv"));
}

// Sends the signal as soon as the first checkpoint exists.
std::function<void(pid_t)> at_first_checkpoint(const fs::path& out, const std::string& stage, int signal) {
  return [=](pid_t child) {
    CHECK(wait_until([&] { return fs::exists(out / stage / "checkpoints" / "latest"); }));
    kill(child, signal);
  };
}

}  // namespace

TEST_CASE("a pipeline writes all stages, samples, scores and a report; repeating the command finds it finished") {
  const fs::path& out = finished_run();
  for (const char* stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"}) {
    CHECK_MESSAGE(fs::exists(out / stage / "checkpoints" / "latest"), stage);
    CHECK_MESSAGE(fs::exists(out / stage / "config.toml"), stage);
  }
  for (const char* file : {"judge/judge.safetensors", "encoder/encoder.safetensors", "stats.safetensors", "samples.png"})
    CHECK_MESSAGE(fs::exists(out / file), file);
  const std::string scores = read_file(out / "scores.csv"), report = read_file(out / "report.html");
  CHECK(lines(scores) == 1 + 2 + 3 * 2);  // heading; reconstruction and teacher; three students with 1 and 2 calls
  CHECK(!has(scores, "nan"));
  for (const char* part : {"<svg", "data:image/png", "mft", "Frechet", "mfd: mean square error before the metric<", "decoder: norm of the gradients<", "Accuracy by class",
                           "href=\"mfd/report.html\"", "All stages together took ", "Machine and command line"})
    CHECK_MESSAGE(has(report, part), part);

  TempFolder copy;
  fs::copy(out, copy / "run", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  const Result again = train("pipeline", copy / "run");
  succeeds(again);
  for (const char* stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"})
    CHECK_MESSAGE(has(again.err, std::string(stage) + ": done"), again.err);
  CHECK_MESSAGE(!has(again.err, "warning"), again.err);
  std::string here = report;                          // the report contains the name of its folder
  here.replace(here.find(out.string()), out.string().size(), (copy / "run").string());
  CHECK(has(read_file(out / "mfd/report.html"), "href=\"../report.html\""));
  CHECK(read_file(copy / "run/report.html") == here);
  for (const char* stage : {"encoder", "fm", "mft"}) same_training(out, copy / "run", stage);

  // A changed flag has no effect on a finished stage, and a warning says so.
  const Result late = train("mfd", copy / "run", {"--derivative", "fd"});
  succeeds(late);
  CHECK_MESSAGE(has(late.err, "mfd: config: mfd.objective.derivative.kind was \"jvp\", is \"fd\"; --fresh trains it anew"), late.err);

  // After further steps of a stage the report is written again. A stage whose source has changed is not reported as done.
  const Result longer = train("pipeline", copy / "run", {"--mft.loop.steps", "10"});
  succeeds(longer);
  CHECK(has(longer.err, "mft: config: mft.loop.steps was"));
  CHECK(!has(longer.err, "fm: config:"));
  CHECK(read_file(copy / "run/report.html") != report);
  const Result guided = train("mfd", copy / "run", {"--guidance", "2", "-q"});
  CHECK(guided.code == exit_code::usage);
  CHECK_MESSAGE(has(guided.err, "was made from another guidance (1, now 2)"), guided.err);
  const Result partly = train("mfd", copy / "run", {"--guidance", "2", "--guidance-to", "0.5", "-q"});
  CHECK_MESSAGE(has(partly.err, "was made from another guidance (1, now 2 from 0 to 0.5)"), partly.err);
  succeeds(train("fm", copy / "run", {"--fresh", "--steps", "2"}));
  refused(train("mfd", copy / "run", {"-q"}), exit_code::usage, "was made from another teacher");
}

TEST_CASE("decoder --fresh starts from the initial values again") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder"});
  const Arguments one{"--fresh", "--steps", "1"};
  succeeds(train("decoder", out, one));
  const std::string first = read_file(out / "decoder/checkpoints/latest/model.safetensors");
  succeeds(train("decoder", out, one));
  CHECK(read_file(out / "decoder/checkpoints/latest/model.safetensors") == first);
}

TEST_CASE("stage map trains with every objective of the list, and is sampled and planned like other stages") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"encoder", "decoder", "fm"});
  const Arguments few{"--steps", "2", "--batch", "16", "--fresh", "--map.objective.name"};
  std::set<std::string> results;
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    // By default the map takes the teacher's velocities, but with these sct would be the same as scd.
    succeeds(train("map", out, few + (name == "sct" ? Arguments{name, "--map.velocity", "one-point"} : Arguments{name})));
    results.insert(read_file(out / "map/checkpoints/latest/model.safetensors"));
    const Result planned = train("map", out, few + Arguments{name, "-n"});
    succeeds(planned);
    CHECK_MESSAGE(has(planned.err, "map      2 steps of 16: 32 images"), planned.err);
  }
  CHECK(results.size() == objective_names().size());                     // each objective gives other weights
  succeeds(run("flowmap_sample", out, {"--stage", "map", "--count", "2", "--grid", (folder / "grid.png").string()}));
  refused(train("map", out, {"--steps", "2", "--batch", "18", "--fresh", "--map.objective.name", "imm", "-q"}), exit_code::usage,
          "map: its objective takes rows in groups of 4: change loop.batch = 18 to a multiple of this number");
  refused(train("map", folder / "empty", {"--steps", "1", "-q"}), exit_code::unreadable, "there is no trained encoder");
  refused(train("map", out, {"-q"}), exit_code::usage, "map.loop.steps is 0, so pipeline leaves this stage out");
}

TEST_CASE("a pipeline holds little more memory than its largest stage alone") {
  const auto held = [](const fs::path& run, const std::string& stage) {              // peak memory of tensors and of blocks kept for reuse, MiB
    const auto rows = split(read_file(run / stage / "metrics.csv"), '\n');
    const auto names = split(rows.front(), ','), last = split(rows.back(), ',');
    const auto at = std::find(names.begin(), names.end(), "tensor_held_mib") - names.begin();
    return std::stod(last.at(static_cast<std::size_t>(at)));
  };
  const std::vector<std::string> stages{"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"};
  double together = 0, alone = 0;
  std::vector<std::string> before;
  for (const std::string& stage : stages) {
    TempFolder folder;
    copy_stages(folder / "run", before);
    succeeds(train(stage, folder / "run"));
    MESSAGE(stage << ": alone " << held(folder / "run", stage) << " MiB, in the pipeline " << held(finished_run(), stage) << " MiB");
    alone = std::max(alone, held(folder / "run", stage));
    together = std::max(together, held(finished_run(), stage));
    before.push_back(stage);
  }
  CHECK(together < 1.1 * alone);
}

TEST_CASE("a missing or incompatible source of a stage, run folder or stage is reported with exit code 3") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "fm", "cmt", "mfd"});
  refused(run("flowmap_sample", out, {"--count", "2", "-q"}), exit_code::unreadable, "there is no trained decoder");
  for (const char* program : {"flowmap_sample", "evaluate"})
    refused(run(program, folder / "nowhere", {"-q"}), exit_code::unreadable, "there is no such folder");
  const auto unused = [](const Arguments& more, const std::string& message) { refused(run("flowmap_sample", finished_run(), more + Arguments{"-q"}), exit_code::usage, message); };
  for (const Arguments& option : {Arguments{"--tile", "4"}, Arguments{"--stats", "none"}, Arguments{"--precision", "bf16"}, Arguments{"--pixels", "half"},
                                  Arguments{"--vae", "v"}})
    unused(option, option[0] + " " + option[1] + ": this option is for weights without a run, and needs --dit");
  unused({"--guidance", "2"}, "--guidance 2: guidance is for the teacher, but stage mft is a flow map, which learned its guidance: leave it out, or add --stage teacher");
  refused(run("flowmap_sample", finished_run(), {"--stage", "mfx", "-q"}), exit_code::unreadable, "there is no stage 'mfx'");
  refused(run("flowmap_sample", finished_run(), {"--dit.width", "32", "-q"}), exit_code::unreadable, "mft/config.toml");
  copy_stages(folder / "early", {"encoder", "decoder"});
  refused(train("cmt", folder / "early", {"-q"}), exit_code::unreadable, "run `flowmap_train fm` (or pipeline) first");
  copy_stages(folder / "other", {"judge", "encoder", "decoder"});
  refused(train("fm", folder / "other", {"--init-from", (finished_run() / "decoder").string(), "-q"}), exit_code::unreadable,
          "no dit in this file: it is a RAE decoder");
}

TEST_CASE("a run that is killed or stopped and resumed gives the same bits as an uninterrupted run") {
  const std::map<std::string, std::vector<std::string>> needs{
      {"encoder", {}}, {"fm", {"encoder", "decoder"}}, {"mfd", {"encoder", "decoder", "fm", "cmt"}}};
  for (const auto& need : needs) {
    const std::string& stage = need.first;
    const std::vector<std::string>& before = need.second;
    CAPTURE(stage);
    const Arguments steps{"--steps", "60", "--ckpt-every", "4", "--log-every", "1"};
    TempFolder straight, killed, stopped;
    for (const TempFolder* f : {&straight, &killed, &stopped}) copy_stages(*f / "run", before);
    succeeds(train(stage, straight / "run", steps));

    CHECK(train(stage, killed / "run", steps, at_first_checkpoint(killed / "run", stage, SIGKILL)).code == 1000 + SIGKILL);
    succeeds(train(stage, killed / "run", steps));
    same_training(straight / "run", killed / "run", stage);

    const Result result = train(stage, stopped / "run", steps, at_first_checkpoint(stopped / "run", stage, SIGTERM));
    CHECK(result.code == exit_code::stopped_early);
    CHECK_MESSAGE(has(result.err, "SIGTERM at step"), result.err);
    CHECK(!fs::exists(stopped / "run" / stage / "checkpoints" / step_name(60)));
    CHECK(has(read_file(stopped / "run" / stage / "run.json"), "\"exit_code\": 75"));
    succeeds(train(stage, stopped / "run", steps));
    same_training(straight / "run", stopped / "run", stage);
  }
}

TEST_CASE("a stopped pipeline resumes") {
  TempFolder folder;
  const fs::path out = folder / "run";
  const Arguments longer{"--fm.loop.steps", "60", "--fm.loop.ckpt_every", "4"};
  CHECK(train("pipeline", out, longer, at_first_checkpoint(out, "fm", SIGTERM)).code == exit_code::stopped_early);
  CHECK(!fs::exists(out / "cmt"));
  const Result rest = train("pipeline", out, longer);
  succeeds(rest);
  CHECK_MESSAGE(has(rest.err, "decoder: done"), rest.err);
  CHECK_MESSAGE(has(rest.err, "fm: resuming from"), rest.err);
  CHECK(fs::exists(out / "report.html"));
}

TEST_CASE("with --fresh or another encoder, a new run uses nothing of the old run") {
  TempFolder folder;
  const fs::path out = folder / "run";
  fs::copy(finished_run(), out, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  const Arguments other{"--seed", "2", "--evaluate.samples", "20"};
  CHECK(train("pipeline", out, other + Arguments{"--fresh", "--max-time", "1s", "--judge.loop.steps", "1000000"}).code ==
        exit_code::stopped_early);
  CHECK(fs::exists(folder / "run.old-1/report.html"));
  CHECK(!fs::exists(out / "fm"));
  succeeds(train("pipeline", out, other));  // the judge has made enough steps already
  CHECK(read_file(out / "stats.safetensors") != read_file(finished_run() / "stats.safetensors"));
  CHECK(fs::exists(out / "report.html"));

  copy_stages(folder / "mixed", {"decoder"});
  fs::copy(out / "encoder", folder / "mixed/encoder", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  succeeds(train("stats", folder / "mixed"));
  CHECK(read_file(folder / "mixed/stats.safetensors") == read_file(out / "stats.safetensors"));
}

TEST_CASE("--resume PATH and --init-from start from the given weights; unusable values of them are refused") {
  TempFolder folder;
  const fs::path out = folder / "run", weights = finished_run() / "fm";
  copy_stages(out, {"encoder", "decoder", "fm"});
  refused(train("fm", out, {"--resume", "never", "-q"}), exit_code::usage, "--fresh moves them aside");
  refused(train("pipeline", out, {"--resume", weights.string(), "-q"}), exit_code::usage, "a checkpoint fits only one stage");
  refused(train("pipeline", out, {"--init-from", weights.string(), "-q"}), exit_code::usage, "not for pipeline");
  refused(train("judge", out, {"--init-from", weights.string(), "-q"}), exit_code::usage, "begins from random weights");
  refused(train("fm", out, {"--resume", "nowhere", "-q"}), exit_code::unreadable, "--resume nowhere: no checkpoint there");
  const Result older = train("fm", out, {"--resume", (out / "fm/checkpoints" / step_name(12)).string()});
  succeeds(older);
  CHECK_MESSAGE(has(older.err, "(step 12)"), older.err);
  same_training(finished_run(), out, "fm");
  const Result begun = train("fm", out, {"--fresh", "--steps", "2", "--init-from", weights.string() + ":ema"});
  succeeds(begun);
  CHECK_MESSAGE(has(begun.err, "fm: 2 steps of 16, weights from"), begun.err);
  CHECK(fs::exists(out / "fm.old-1"));
}

TEST_CASE("results do not depend on the number of threads") {
  const Arguments wide{
      "--dit.width",          "64",  "--dit.head_width",     "96",  "--fm.loop.batch",     "256", "--mfd.loop.batch",     "256",
      "--encoder.loop.batch", "128", "--decoder.loop.batch", "256", "--judge.loop.batch",  "128", "--judge.loop.steps",   "3",
      "--encoder.loop.steps", "3",   "--decoder.loop.steps", "3",   "--fm.loop.steps",     "3",   "--cmt.loop.steps",     "3",
      "--mfd.loop.steps",     "3",   "--mft.loop.steps",     "0",   "--fm.loop.log_every", "1",   "--mfd.loop.log_every", "1"};
  TempFolder folder;
  succeeds(train("pipeline", folder / "one", wide));
  succeeds(train("pipeline", folder / "two", wide + Arguments{"--threads", "2"}));
  CHECK(has(read_file(folder / "one/fm/run.json"), "\"threads\": 1"));
  CHECK(has(read_file(folder / "two/fm/run.json"), "\"threads\": 2"));
  for (const char* stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd"}) same_training(folder / "one", folder / "two", stage);
  for (const char* file : {"stats.safetensors", "samples.png"})
    CHECK_MESSAGE(read_file(folder / "one" / file) == read_file(folder / "two" / file), file);
}

TEST_CASE("micro-batches train like the whole batch, up to rounding") {
  const std::map<std::string, std::vector<std::string>> needs{
      {"encoder", {}}, {"fm", {"encoder"}}, {"cmt", {"encoder", "fm"}}, {"mfd", {"encoder", "fm", "cmt"}}};
  for (const auto& need : needs) {
    const std::string& stage = need.first;
    TempFolder folder;
    std::map<std::string, std::vector<std::vector<std::string>>> rows;
    for (const std::string micro : {"0", "3"}) {  // with 3, the parts have unequal sizes
      const fs::path out = folder / micro;
      copy_stages(out, need.second);
      succeeds(
          train(stage, out, {"--steps", "4", "--batch", "8", "--micro-batch", micro, "--log-every", "1", "--cmt.objective.jitter", "1"}));
      rows[micro] = measured(out / stage / "metrics.csv");
    }
    REQUIRE(rows["0"].size() == 5);  // the heading, then a row per step
    REQUIRE(rows["3"].size() == 5);
    for (std::size_t r = 1; r < 5; ++r)
      for (std::size_t i = 0; i < rows["0"][r].size(); ++i) {
        const double parts = std::stod(rows["3"][r][i]), whole = std::stod(rows["0"][r][i]);
        CAPTURE(stage + ": " + rows["0"][0][i]);
        if (whole == 0) CHECK(parts == 0);                     // for example a share of rows that is 0
        else CHECK(near(parts, whole, 2e-6));
      }
  }
}

TEST_CASE("--log selects the log files that every stage writes") {
  TempFolder folder;
  const fs::path out = folder / "run";
  const Arguments few{"--judge.loop.steps", "2", "--encoder.loop.steps", "2", "--decoder.loop.steps", "2", "--fm.loop.steps",    "2",
                      "--cmt.loop.steps",   "2", "--mfd.loop.steps",     "2", "--mft.loop.steps",     "2", "--evaluate.samples", "10"};
  const auto logs = [&](const std::string& stage) {  // a letter for each existing log: c csv, j jsonl, o events, h html
    std::string found;
    for (const auto& entry : fs::directory_iterator(out / stage)) {
      const std::string name = entry.path().filename().string();
      for (const char* file : {"metrics.csv", "metrics.jsonl", "events.out", "report.html"})
        if (name.starts_with(file)) found += name.substr(name.find('.') + 1, 1);
    }
    std::sort(found.begin(), found.end());
    return found;
  };
  succeeds(train("pipeline", out, few + Arguments{"--log", "jsonl,html"}));
  for (const char* stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"}) {
    CHECK_MESSAGE(logs(stage) == "hj", stage);
    CHECK(has(read_file(out / stage / "config.toml"), "log = [\"jsonl\", \"html\"]"));
  }
  CHECK(fs::exists(out / "report.html"));  // this file is a result of the pipeline, not a log
  succeeds(train("fm", out, {"--steps", "4", "--log", "csv,tb", "--fresh"}));
  CHECK(logs("fm") == "co");
  succeeds(train("fm", out, {"--steps", "4", "--log=", "--fresh"}));
  CHECK(logs("fm").empty());
  CHECK(fs::exists(out / "fm/log.txt"));
  refused(train("fm", out, {"--log", "csv,xls", "-q"}), exit_code::usage, "'xls' is not one of csv|jsonl|tb|html");
}

TEST_CASE("--dry-run prints sizes and writes nothing") {
  TempFolder folder;
  const Result fresh = train("pipeline", folder / "run", {"--dry-run"});
  succeeds(fresh);
  for (const char* part : {"200 images", "parameters", "12 steps of", "trajectories", "MFLOP in all", "with dit.recompute"})
    CHECK_MESSAGE(has(fresh.err, part), fresh.err);
  CHECK(!fs::exists(folder / "run"));
  copy_stages(folder / "old", {"encoder", "fm"});
  const auto before = contents(folder / "old");
  succeeds(train("fm", folder / "old", {"--dry-run", "--steps", "100"}));
  CHECK(contents(folder / "old") == before);
}

TEST_CASE("training gives the same bits from a latent cache, from memory and from images, with and without flips") {
  TempFolder folder;
  const auto begin = [&](const char* name) {
    fs::create_directories(folder / name);
    fs::copy(finished_run() / "encoder", folder / name / "encoder", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    return folder / name;
  };
  for (const char* flip : {"true", "false"}) {
    const std::string suffix = flip;
    const Arguments common{"--latents.flip", flip, "--latents.batch", "16", "--latents.dtype", "f32", "--latents.shard", "48"};
    const fs::path memory = begin(("memory-" + suffix).c_str()), cache = begin(("cache-" + suffix).c_str()),
                   live = begin(("live-" + suffix).c_str());
    succeeds(train("fm", memory, common));
    succeeds(train("encode", cache, common));
    succeeds(train("fm", cache, common + Arguments{"--latents", "cache", "--latents.workers", "3"}));
    succeeds(train("fm", live, common + Arguments{"--latents", "images"}));
    CHECK(read_file(memory / "stats.safetensors") == read_file(cache / "stats.safetensors"));
    CHECK(read_file(memory / "stats.safetensors") == read_file(live / "stats.safetensors"));
    same_training(memory, cache, "fm");
    same_training(memory, live, "fm");
    for (const char* stage : {"cmt", "mfd", "mft"}) {
      succeeds(train(stage, memory, common));
      succeeds(train(stage, cache, common + Arguments{"--latents", "cache"}));
      same_training(memory, cache, stage);
    }
  }
  CHECK(read_file(folder / "memory-true/stats.safetensors") != read_file(folder / "memory-false/stats.safetensors"));
  refused(train("fm", folder / "cache-true", {"--latents", "cache", "-q"}), exit_code::usage, "set latents.flip = true");
  refused(train("fm", folder / "memory-true", {"--latents", "cache", "-q"}), exit_code::unreadable, "no latents");
}

TEST_CASE("encode resumes, and latents of another encoder are refused") {
  TempFolder folder;
  fs::create_directories(folder / "run");
  fs::copy(finished_run() / "encoder", folder / "run/encoder", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  const Arguments options{"--latents.shard", "30", "--latents-folder", (folder / "z").string()};
  succeeds(train("encode", folder / "run", options));
  const auto want = contents(folder / "z");
  CHECK(want.contains("latents-00006.safetensors"));
  const Result again = train("encode", folder / "run", options);
  succeeds(again);
  CHECK(has(again.err, "7 shards are intact, 0 are missing"));
  fs::remove(folder / "z/latents-00003.safetensors");
  succeeds(train("encode", folder / "run", options));
  CHECK(contents(folder / "z") == want);

  const Arguments small{"--latents.shard", "4", "--latents-folder"};
  succeeds(train("encode", folder / "run", small + Arguments{(folder / "whole").string()}));
  for (int signal : {SIGTERM, SIGKILL}) {
    const fs::path z = folder / std::to_string(signal);
    const Result stopped = train("encode", folder / "run", small + Arguments{z.string()}, [&](pid_t child) {
      CHECK(wait_until([&] { return fs::exists(z / "latents-00005.safetensors"); }));
      kill(child, signal);
    });
    CHECK(stopped.code != 0);
    if (signal == SIGTERM) CHECK(stopped.code == exit_code::stopped_early);
    CHECK(!fs::exists(z / "stats.safetensors"));
    refused(train("fm", folder / "run", {"--latents", "cache", "--latents-folder", z.string(), "-q"}), exit_code::unreadable,
            "of 50 shards are made");
    succeeds(train("encode", folder / "run", small + Arguments{z.string()}));
    CHECK(contents(z) == contents(folder / "whole"));
  }

  succeeds(train("encoder", folder / "run", {"--fresh", "--steps", "1"}));
  refused(train("encode", folder / "run", options + Arguments{"-q"}), exit_code::usage, "holds latents with encoder");
  refused(train("fm", folder / "run", options + Arguments{"--latents", "cache", "-q"}), exit_code::usage, "latents of encoder");
}

TEST_CASE("a recipe with given weights does not need the stages of encoder, decoder, statistics and teacher") {
  TempFolder folder;
  const fs::path made = finished_run(), out = folder / "run";
  const Arguments given{"--encoder-weights", (made / "encoder/encoder.safetensors").string(),
                        "--decoder-weights", (made / "decoder/checkpoints/latest/ema.safetensors").string(),
                        "--stats-file",      (made / "stats.safetensors").string(),
                        "--teacher-weights", (made / "fm").string() + ":ema"};
  copy_stages(folder / "copy", {"encoder", "decoder", "fm"});
  for (const char* stage : {"cmt", "mfd"}) {
    succeeds(train(stage, out, given));
    succeeds(train(stage, folder / "copy"));
    same_training(folder / "copy", out, stage);
  }
  CHECK(fs::exists(out / "mfd/samples"));
  CHECK(!fs::exists(out / "fm"));
  succeeds(train("stats", folder / "new", {"--encoder-weights", given[1]}));  // the first command of a run
  CHECK(fs::exists(folder / "new/stats.safetensors"));
  const Result lost = train("cmt", out, {"--stats-file", "lost/stat.pt", "--teacher-weights", "lost/stage2_model.pt", "-q"});
  refused(lost, exit_code::unreadable,
          "do not exist: lost/stat.pt, lost/stage2_model.pt; put them there, or set stats_file, teacher_weights");
  succeeds(train("cmt", folder / "dry", {"--stats-file", "lost/stat.pt", "--dry-run"}));
  save_safetensors(folder / "of_512.safetensors", {{"var", Tensor::ones({8, 32, 32})}});
  refused(train("cmt", out, given + Arguments{"--stats-file", (folder / "of_512.safetensors").string(), "-q"}), exit_code::unreadable,
          "of_512.safetensors: statistics of latents [8, 32, 32], but this recipe's latents are");
}
