// The program ablate on configs/tiny_shapes.toml: its comparisons, the weights behind each row, and its tables.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "data/image_file.h"
#include "data/report/csv.h"
#include "data/report/table.h"
#include "flowmap/training/ablation/busy.h"
#include "flowmap/training/ablation/earlier_tables.h"
#include "flowmap/training/ablation/identity.h"
#include "flowmap/training/ablation/report.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

// A CSV as rows[first cells of a line][heading of the column].
using Rows = std::map<std::string, std::map<std::string, std::string>>;
Rows rows_of(const fs::path& csv, const std::string& key = "") {
  const CsvRows rows = parse_csv(read_file(csv));
  REQUIRE(rows.size() > 1);
  const auto& head = rows[0];
  Rows out;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    REQUIRE_MESSAGE(rows[r].size() == head.size(), rows[r][0]);
    std::map<std::string, std::string> named;
    for (std::size_t i = 0; i < head.size(); ++i) named[head[i]] = rows[r][i];
    out[rows[r][0] + (key.empty() ? "" : " " + named.at(key))] = named;
  }
  return out;
}

const Arguments few{"--mfd.loop.steps", "4", "--deltas", "0.01", "--timing-rounds", "2", "--evaluate.samples", "20"};

fs::path begun(const TempFolder& folder) {
  copy_stages(folder / "run", {"judge", "encoder", "decoder", "fm", "cmt"});
  return folder / "run";
}

AblateConfig config_of(const std::string& what) {
  AblateConfig c;
  c.what = what;
  c.recipe.data = "shapes";
  c.recipe.take_sizes(8, 1, 4);
  c.recipe.rae.encoder.patch_size = 4;
  c.recipe.encoder.local_size = 4;
  c.recipe.mfd.loop.steps = 10;
  c.recipe.mfd.loop.rate.warmup_steps = 4;
  c.recipe.resolve();
  return c;
}

std::vector<std::string> names(const std::vector<Variant>& list) {
  std::vector<std::string> out;
  for (const Variant& v : list) out.push_back(v.name);
  return out;
}

}  // namespace

TEST_CASE("statistics() divides by n - 1 and leaves out values that are not finite; median() averages the two middle values") {
  const Statistics s = statistics({1, 2, std::nan(""), 4, 9});
  CHECK(s.n == 4);
  CHECK(near(s.mean, 4, 1e-12));
  CHECK(near(s.deviation, std::sqrt((9 + 4 + 0 + 25) / 3.0), 1e-12));
  CHECK(statistics({3}).deviation == 0);
  CHECK(std::isnan(statistics({}).mean));
  CHECK(median({5, 1, 3}) == 3);
  CHECK(median({4, 1, 2, 8}) == 3);
  CHECK(near(spread({2, 3, 4}), 2.0 / 3, 1e-12));
}

TEST_CASE("a table has the same values as terminal text, CSV, Markdown and LaTeX") {
  const Table table{.what = "derivative",
                    .columns = {{"error", "du/dt error", "{:.1e}"}, {"frechet_1", "Frechet, 1 call", "{:.2f}"}},
                    .rows = {{"jvp", {{1e-7, 3e-7}, {70.25, 70.75}}, ""}, {"fd_0.1", {{0.5}, {std::nan("")}}, "1 of 2 diverged"}}};
  CHECK(csv_text(table) ==
        "name,error_mean,error_deviation,error_n,frechet_1_mean,frechet_1_deviation,frechet_1_n,note\n"
        "jvp,2e-07,1.41421e-07,2,70.5,0.353553,2,\n"
        "fd_0.1,0.5,,1,,,0,1 of 2 diverged\n");
  CHECK(markdown_text(table) ==
        "| derivative | du/dt error | Frechet, 1 call | note |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| jvp | 2.0e-07 ± 1.4e-07 | 70.50 ± 0.35 |  |\n"
        "| fd_0.1 | 5.0e-01 | - | 1 of 2 diverged |\n");
  CHECK(latex_text(table) ==
        "\\begin{tabular}{lrrr}\n\\toprule\nderivative & du/dt error & Frechet, 1 call & note \\\\\n\\midrule\n"
        "jvp & 2.0e-07 $\\pm$ 1.4e-07 & 70.50 $\\pm$ 0.35 &  \\\\\n"
        "fd\\_0.1 & 5.0e-01 & - & 1 of 2 diverged \\\\\n\\bottomrule\n\\end{tabular}\n");
  CHECK(lines(terminal_text(table)) == 3);
  CHECK(lines(terminal_text(table, 40)) == 3 * 3 + 2);      // three blocks of one column each, with empty lines between them
  CHECK(has(terminal_text(table, 40), "jvp            70.50 ± 0.35\n"));
}

TEST_CASE("the CPU share of other processes is not reported for too short a measurement") {
  CHECK_FALSE(BusyWatch().others().has_value());
  CHECK(has(busy_line(std::nullopt, {}), "other work is unknown"));
}

TEST_CASE("--vary is refused for a key that the comparison sets, for equal values, and if two variants would have one name") {
  AblateConfig c = config_of("derivative");
  const auto refused_with = [&](const std::string& part) {
    const std::string text = error_of<ConfigError>([&] { variants(c); });
    CHECK_MESSAGE(has(text, part), text);
  };
  c.deltas = {0.1, 0.1000001};
  refused_with("two variants are named fd-0.1");
  c.deltas = {0.1}, c.precisions = {"f32", "f32"};
  refused_with("two variants are named jvp");
  c.precisions = {"f32"}, c.vary = {"guidance=1,1.0"};
  refused_with("the same value twice");
  for (const auto& [what, key] : {std::pair{"derivative", "mfd.objective.derivative.kind=jvp,central"}, {"scheme", "mfd.velocity=teacher,one-point"},
                                  {"lambda", "mfd.velocity=teacher,one-point"}}) {
    c = config_of(what), c.vary = {key};
    refused_with("sets this key in each variant");
  }
  c = config_of("scheme"), c.vary = {"mfd.loop.steps=10,20"};
  refused_with("steps and their schedule follow from --what scheme");
  c = config_of("none"), c.vary = {"mfd.loop.rate.decay_end=10,20"}, c.equal = "evaluations";
  refused_with("steps and their schedule follow from --equal evaluations");
  c.equal = "steps";
  CHECK(names(variants(c)) == std::vector<std::string>{"mfd decay_end=10", "mfd decay_end=20"});
  c.vary = {"mfd.objective.pairs.time.shift=1,2", "mfd.objective.metric.c=1,2", "mfd.loop.adamw.clip=1,2"};
  CHECK(variants(c)[0].name == "mfd shift=1 c=1 clip=1");
}

TEST_CASE("--vary gives the product of its values; --seeds takes a list or a number") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.1, 0.01};
  CHECK(names(variants(c)) == std::vector<std::string>{"jvp", "fd-0.1", "fd-0.01"});
  c.what = "";
  c.vary = {"mfd.loop.rate.peak=1e-3,1e-4", "guidance=1,3"};
  CHECK(comparison(c) == "none");
  const std::vector<Variant> list = variants(c);
  CHECK(names(list) == std::vector<std::string>{"mfd peak=1e-3 guidance=1", "mfd peak=1e-3 guidance=3", "mfd peak=1e-4 guidance=1",
                                                "mfd peak=1e-4 guidance=3"});
  CHECK(near(list[2].recipe.mfd.loop.rate.peak, 1e-4, 1e-12));
  CHECK(list[1].recipe.guidance == 3);
  c.what = "scheme";
  c.vary = {"mfd.loop.batch=8,32"};
  const std::vector<Variant> both = variants(c);
  REQUIRE(both.size() == 6);
  CHECK(both[5].then->loop.batch == 32);
  CHECK(both[5].then->velocity == "one-point");
  for (const char* bad : {"mfd.loop.rate.peak", "mfd.loop.peek=1", "fm.loop.steps=1,2", "dit.width=16,32", "mfd.loop.batch=8,8", "mfd.loop.batch=0,8"}) {
    c.vary = {bad};
    CHECK_THROWS_AS(variants(c), ConfigError);
  }
  c.recipe.seed = 5;
  CHECK(seeds(c) == std::vector<std::int64_t>{5});
  c.seeds = "3";
  CHECK(seeds(c) == std::vector<std::int64_t>{5, 6, 7});
  c.seeds = "1,2,9";
  CHECK(seeds(c) == std::vector<std::int64_t>{1, 2, 9});
  for (const char* bad : {"0", "1,1", "a", "-3", "1,,2"}) {
    c.seeds = bad;
    CHECK_THROWS_AS(seeds(c), ConfigError);
  }
}

TEST_CASE("--equal computes the steps of each variant from evaluations or seconds and scales the schedules") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.01};
  std::vector<Variant> list = variants(c);
  // A share q of the rows has s < t. A row costs 3 + q passes on average, or 3 + 2 q by differences, and the calls of the teacher.
  const PairConfig& pairs = c.recipe.mfd.objective.pairs;
  const double q = 1 - pairs.diagonal_share, batch = static_cast<double>(c.recipe.mfd.loop.batch);
  const double difference = evaluations_a_step(list[1]) - evaluations_a_step(list[0]);
  CHECK(near(difference, q * batch, 1e-9));
  CHECK(evaluations_a_step(list[0]) > (3 + q) * batch);                       // the teacher costs more than nothing
  list[0].recipe.mfd.loop.steps = list[1].recipe.mfd.loop.steps = 1000;
  list[1].recipe.mfd.loop.rate.decay_end = 1000;
  equalise(list, "evaluations", {});
  CHECK(list[0].steps() == 1000);
  CHECK(list[1].steps() == std::llround(1000 * evaluations_a_step(list[0]) / evaluations_a_step(list[1])));
  CHECK(list[1].recipe.mfd.loop.rate.decay_end == list[1].steps());
  equalise(list, "time", {StepCost{.seconds = 0.1}, StepCost{.seconds = 0.4}});
  CHECK(list[1].steps() == 250);
  list = variants(config_of("scheme"));
  equalise(list, "time", {StepCost{.seconds = 1}, StepCost{.seconds = 1}, StepCost{.seconds = 0.25}});
  CHECK(list[2].recipe.mfd.loop.steps == 20);
  CHECK(list[2].then->loop.steps == 20);
}

TEST_CASE("ablate writes a full table for every comparison and reuses finished trainings") {
  TempFolder folder;
  const fs::path out = begun(folder);
  std::map<std::size_t, int> heights;                                        // of samples.png, by the number of variants
  for (const std::string what : {"derivative", "init", "scheme"}) {
    CAPTURE(what);
    const Result result = run("ablate", out, few + Arguments{"--what", what});
    succeeds(result);
    const Rows table = rows_of(out / "ablate" / what / "table.csv");
    CHECK(table.size() == (what == "derivative" ? 2 : 3));
    for (const auto& entry : table) {
      const std::string& name = entry.first;
      const auto& row = entry.second;
      CAPTURE(name);
      for (const char* column : {"seconds_a_step_mean", "peak_mib_mean", "evaluations_a_step_mean", "steps_mean", "frechet_1_mean", "accuracy_2_mean"})
        CHECK_MESSAGE(std::stod("0" + row.at(column)) > 0, column);
      if (name != "random") CHECK(std::stod(row.at("derivative_error_mean")) > 0);
      for (const char* column : {"psnr_1_mean", "energy_distance_1_mean", "map_error_1_mean"})      // columns for reconstructions and for points
        CHECK_MESSAGE(!row.contains(column), column);
    }
    const std::string report = read_file(out / "ablate" / what / "report.html");
    CHECK(has(report, "du/dt error"));
    CHECK(has(report, "Norm of the gradients"));
    CHECK(has(report, "machine"));                                             // the report says whether the machine was busy
    heights[table.size()] = read_image(out / "ablate" / what / "samples.png").height;
    const auto first = rows_of(out / "ablate" / what / "trials.csv", "calls");
    const Result again = run("ablate", out, few + Arguments{"--what", what});
    succeeds(again);
    CHECK_MESSAGE(!has(again.err, "step 4/4"), again.err);
    const auto second = rows_of(out / "ablate" / what / "trials.csv", "calls");
    for (const auto& [key, row] : first)
      for (const char* column : {"folder", "checkpoint", "frechet", "accuracy"}) CHECK(row.at(column) == second.at(key).at(column));
  }
  const int block = heights.at(3) - heights.at(2);                           // of one variant
  CHECK(block == 3 * (2 * 8 + 4));                                           // three rows of images of 8 pixels, enlarged twice, with borders
  CHECK(heights.at(2) > 5 * block);                                          // real, rebuilt, teacher and two variants, below the names of the classes
  CHECK(heights.at(2) < 6 * block);
  for (const char* file : {"table.md", "table.tex"}) CHECK(fs::exists(out / "ablate/scheme" / file));
  CHECK_FALSE(fs::exists(out / "ablate/scheme/earlier-1"));            // the same comparison again: its table is not kept as an earlier one

  const std::string before = read_file(out / "ablate/scheme/table.csv");
  const std::string grid = read_file(out / "ablate/scheme/samples.png");
  const Result other = run("ablate", out, few + Arguments{"--what", "scheme", "--calls", "1"});
  succeeds(other);
  CHECK(has(other.err, "the tables of another comparison are kept in"));
  CHECK(read_file(out / "ablate/scheme/earlier-1/table.csv") == before);
  CHECK(read_file(out / "ablate/scheme/table.csv") != before);
  CHECK(read_file(out / "ablate/scheme/earlier-1/samples.png") == grid);
  CHECK(read_file(out / "ablate/scheme/samples.png") == grid);         // the grid shows the first number of calls, which is 1 in both comparisons
  const Result two = run("ablate", out, few + Arguments{"--what", "scheme", "--calls", "2"});
  succeeds(two);
  CHECK(read_file(out / "ablate/scheme/samples.png") != grid);
}

TEST_CASE("a new comparison keeps the tables of another one, replaces its own, and completes an interrupted move") {
  const TempFolder folder;
  struct Quiet : Messages {
    void message(Level, std::string_view) override {}
  } log;
  const auto publish = [&](const std::string& comparison, const std::string& table) {
    keep_earlier_tables(folder.path(), comparison, log);
    for (const char* name : {"table.csv", "table.md", "trials.csv"}) write_atomically(folder / name, table);
  };
  publish("a", "1"), publish("a", "2"), publish("b", "3");
  CHECK(read_file(folder / "earlier-1/table.csv") == "2");
  CHECK(read_file(folder / "earlier-1/comparison.txt") == "a");
  CHECK(read_file(folder / "comparison.txt") == "b");
  fs::remove(folder / "comparison.txt"), fs::remove(folder / "table.md");        // as if a process had been killed while it moved the files
  publish("b", "4");
  CHECK(read_file(folder / "earlier-2/trials.csv") == "3");
  CHECK(read_file(folder / "table.csv") == "4");
  CHECK_FALSE(fs::exists(folder / "earlier-3"));
}

TEST_CASE("ablate trains again if a flag changes the weights, and never reuses weights of other settings") {
  TempFolder folder;
  const fs::path out = begun(folder);
  succeeds(run("ablate", out, few));
  const auto before = rows_of(out / "ablate/derivative/trials.csv", "calls");
  // Options for logging and for keeping checkpoints do not affect the weights: nothing is trained again.
  const Result same = run("ablate", out, few + Arguments{"--mfd.loop.log_every", "2", "--mfd.loop.keep", "3"});
  succeeds(same);
  CHECK_MESSAGE(!has(same.err, "step 4/4"), same.err);
  for (const Arguments& flags : {Arguments{"--mfd.loop.rate.peak", "1e-4"}, {"--guidance", "2"}, {"--mfd.loop.batch", "12"}}) {
    CAPTURE(flags[0]);
    const Result other = run("ablate", out, few + flags);
    succeeds(other);
    CHECK_MESSAGE(has(other.err, "step 4/4"), other.err);
    CHECK_MESSAGE(has(other.err, "trained anew"), other.err);
    CHECK_MESSAGE(has(other.err, " was "), other.err);
    const auto now = rows_of(out / "ablate/derivative/trials.csv", "calls");
    for (const auto& [key, row] : before) {
      CHECK(row.at("folder") != now.at(key).at("folder"));
      CHECK(row.at("checkpoint") != now.at(key).at("checkpoint"));
    }
  }
  // The first settings again: their weights still exist, and nothing is trained.
  const Result back = run("ablate", out, few);
  succeeds(back);
  CHECK_MESSAGE(!has(back.err, "step 4/4"), back.err);
  CHECK(rows_of(out / "ablate/derivative/trials.csv", "calls").at("jvp 1").at("checkpoint") == before.at("jvp 1").at("checkpoint"));
  // Checkpoints affect weights only if an explosion rewinds to one.
  const Arguments rewind{"--watch.on_explosion", "rewind"};
  succeeds(run("ablate", out, few + rewind));
  for (const auto& [flags, anew] : {std::pair{rewind, true}, {Arguments{}, false}}) {
    const Result kept = run("ablate", out, few + flags + Arguments{"--mfd.loop.ckpt_every", "3"});
    succeeds(kept);
    CHECK_MESSAGE(has(kept.err, "trained anew") == anew, kept.err);
  }
  // --fresh trains anew and keeps the old folders. The next ablation finds the new folders.
  const Result fresh = run("ablate", out, few + Arguments{"--fresh"});
  succeeds(fresh);
  CHECK_MESSAGE(has(fresh.err, "step 4/4"), fresh.err);
  CHECK(fs::exists((out / before.at("jvp 1").at("folder")).string() + ".old-1/checkpoints"));
  const Result after_fresh = run("ablate", out, few);
  succeeds(after_fresh);
  CHECK_MESSAGE(!has(after_fresh.err, "step 4/4"), after_fresh.err);
  CHECK(rows_of(out / "ablate/derivative/trials.csv", "calls").at("jvp 1").at("checkpoint") == before.at("jvp 1").at("checkpoint"));      // bitwise the same weights
  // If the start changes (cmt is trained again), the variants are trained again too.
  succeeds(train("cmt", out, {"--fresh", "--cmt.loop.steps", "6"}));
  const Result start = run("ablate", out, few);
  succeeds(start);
  CHECK_MESSAGE(has(start.err, "start was cmt "), start.err);
  // If the contents of a folder contradict its name, the program refuses it.
  write_atomically(out / before.at("jvp 1").at("folder") / "identity.txt", "seed = 3\n");
  fs::remove_all(out / "cmt");
  copy_stages(out / "again", {"cmt"});
  fs::rename(out / "again/cmt", out / "cmt");
  refused(run("ablate", out, few + Arguments{"-q"}), exit_code::unreadable, "describes another training");
}

TEST_CASE("ablate --seeds: every column has the mean, the deviation and the number of values") {
  TempFolder folder;
  const fs::path out = begun(folder);
  succeeds(run("ablate", out, few + Arguments{"--seeds", "1,2,3", "--vary", "mfd.loop.rate.peak=1e-3,2e-3", "--equal", "evaluations"}));
  const fs::path where = out / "ablate/none";
  const Rows table = rows_of(where / "table.csv");
  REQUIRE(table.size() == 2);
  const auto trials = rows_of(where / "trials.csv", "folder");
  std::set<std::string> weights;
  for (const auto& [name, row] : table) {
    std::vector<double> values;
    for (const auto& [key, trial] : trials)
      if (trial.at("variant") == name && trial.at("calls") == "2") values.push_back(std::stod(trial.at("frechet"))), weights.insert(trial.at("checkpoint"));
    const Statistics s = statistics(values);
    REQUIRE(s.n == 3);
    CHECK(row.at("frechet_2_n") == "3");
    CHECK(near(std::stod(row.at("frechet_2_mean")), s.mean, 1e-5));
    CHECK(near(std::stod(row.at("frechet_2_deviation")), s.deviation, 1e-5));
    CHECK(row.at("seconds_a_step_n") == "3");
    CHECK(std::stod(row.at("derivative_error_deviation")) > 0);        // each seed is measured on its own batch
  }
  CHECK(weights.size() == 6);
}

TEST_CASE("ablate --precisions gives each variant a row per precision; --untrained measures steps without training") {
  TempFolder folder;
  const fs::path out = begun(folder);
  const Arguments both = few + Arguments{"--precisions", "f32,bf16"};
  succeeds(run("ablate", out, both));
  const Rows table = rows_of(out / "ablate/derivative/table.csv");
  for (const char* row : {"jvp", "fd-0.01", "jvp-bf16", "fd-0.01-bf16"}) CHECK(table.contains(row));
  const auto trials = rows_of(out / "ablate/derivative/trials.csv");
  for (const auto& [name, trial] : trials)
    CHECK(has(read_file(out / trial.at("folder") / "config.toml"), name.ends_with("bf16") ? "precision = \"bf16\"" : "precision = \"f32\""));

  const Result untrained = run("ablate", folder / "none", both + Arguments{"--untrained"});
  succeeds(untrained);
  const Rows costs = rows_of(folder / "none/ablate/untrained/table.csv");
  const auto error = [&](const std::string& name) { return std::stod(costs.at(name).at("derivative_error_mean")); };
  CHECK(error("jvp") < 1e-5);
  CHECK(error("jvp-bf16") < 0.05);
  CHECK(error("fd-0.01-bf16") > 3 * error("jvp-bf16"));     // a difference divides its rounding error by the step
  CHECK(!fs::exists(folder / "none/ablate/derivative"));
  refused(run("ablate", folder / "none", {"--untrained", "--what", "init", "-q"}), exit_code::usage, "only for --what derivative and --what objective");

  succeeds(run("ablate", folder / "none", few + Arguments{"--untrained", "--what", "objective", "--objectives", "mean_flow,lsd,cd", "--steps", "4"}));
  const Rows objectives = rows_of(folder / "none/ablate/untrained-objective/table.csv");
  CHECK(objectives.size() == 3);
  const auto cell = [&](const std::string& name, const char* column) { return std::stod(objectives.at(name).at(column)); };
  for (const std::string name : {"mean_flow", "lsd", "cd"})
    CHECK(near(cell(name, "time_an_evaluation_mean"), cell(name, "seconds_a_step_mean") / cell(name, "evaluations_a_step_mean") /
                                                        (cell("mean_flow", "seconds_a_step_mean") / cell("mean_flow", "evaluations_a_step_mean")), 1e-4));
  CHECK(cell("mean_flow", "time_an_evaluation_mean") == 1);
}

TEST_CASE("ablate gives a diverged variant a row in the table and refuses flags that do not fit a comparison") {
  TempFolder folder;
  const fs::path out = begun(folder);
  const Result result = run("ablate", out, few + Arguments{"--mfd.loop.ckpt_every", "1", "--what", "scheme", "--mfd.loop.rate.peak", "1e30"});
  succeeds(result);
  const Rows table = rows_of(out / "ablate/scheme/table.csv");
  CHECK(table.at("mfd").at("note") == "diverged");
  CHECK(table.at("mfd").at("frechet_1_n") == "0");
  CHECK(std::stod(table.at("mfd").at("seconds_a_step_mean")) > 0);
  refused(run("ablate", out, few + Arguments{"--init-from", (out / "cmt").string(), "-q"}), exit_code::usage, "each variant has its own start");
  refused(run("ablate", out, few + Arguments{"--resume", (out / "cmt").string(), "-q"}), exit_code::usage, "a checkpoint fits only one of them");
  refused(run("ablate", out, few + Arguments{"--deltas", "0.1,0", "-q"}), exit_code::usage, "deltas");
  refused(run("ablate", out, few + Arguments{"--vary", "fm.loop.steps=1,2", "-q"}), exit_code::usage, "train separate runs");
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
    CHECK_MESSAGE(lines(result.err) == 2 + 1 + 1 + 3, result.err);  // 2 lines of flags, 1 of the data, 1 of sizes, 3 of variants
  }
  const Result untrained = run("ablate", folder / "run", {"--dry-run", "--untrained", "--deltas", "0.1,0.01"});
  succeeds(untrained);
  for (const std::string& part : wanted.at("derivative")) CHECK_MESSAGE(has(untrained.err, part), untrained.err);
  CHECK(!fs::exists(folder / "run"));
}
