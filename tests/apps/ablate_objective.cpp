// ablate --what objective on configs/toy.toml: the objectives that a run can train, their equal conditions, and the table.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "flowmap/training/ablation/identity.h"
#include "apps/run/jobs.h"
#include "flowmap/training/ablation/measure.h"
#include "flowmap/training/ablation/report.h"
#include "apps/cli/program.h"
#include "data/report/csv.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/child.h"
#include "tests/support/csv_table.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const std::string toy = FM_TESTS_FOLDER "/../configs/toy.toml";

Result run(const std::string& program, const fs::path& out, const Arguments& more) {
  const fs::path file = own_folder().parent_path() / "apps" / program.substr(0, program.find(' '));
  const Arguments stage = program.find(' ') == std::string::npos ? Arguments{} : Arguments{program.substr(program.find(' ') + 1)};
  return run_program_file(file, stage + Arguments{"--config", toy, "--data", "points:8gaussians?count=2048", "--threads", "1", "--out", out.string()} + more);
}

const Arguments few{"--what", "objective", "--steps", "4", "--timing-rounds", "3", "--evaluate.samples", "60", "--map.loop.batch", "16"};

Result compare(const fs::path& out, const Arguments& more) { return run("ablate", out, few + more); }

// A run whose teacher was trained for a few steps.
fs::path taught(const TempFolder& folder) {
  const Result r = run("flowmap_train fm", folder / "run", {"--steps", "5", "-q"});
  REQUIRE_MESSAGE(r.code == 0, r.err);
  return folder / "run";
}

AblateConfig config() {
  AblateConfig c;
  c.what = "objective";
  c.recipe.data = "points:8gaussians", c.recipe.space = "identity", c.recipe.network.name = "mlp", c.recipe.conditional = false;
  c.recipe.map.velocity = "one-point", c.recipe.map.start = "random";
  c.recipe.map.loop.batch = 32;
  c.recipe.resolve_with_data();
  return c;
}

nlohmann::json made_from(const fs::path& training) {
  const fs::path newest = training / "checkpoints" / "step-00000004" / "state.json";
  return nlohmann::json::parse(read_file(newest)).at("made_from");
}

}  // namespace

TEST_CASE("ablate compares all objectives that a run can train and gives a reason for each other one") {
  AblateConfig c = config();
  c.steps = 40;
  const ObjectiveChoice with = chosen_objectives(c, true), without = chosen_objectives(c, false), of_reg = chosen_objectives(c, true, true);
  std::vector<std::string> not_by_reg;
  for (const auto& [name, why] : of_reg.left_out)
    if (has(why, "the run's teacher is a REG")) not_by_reg.push_back(name);
  CHECK(not_by_reg == std::vector<std::string>{"cd", "lmd", "ctm"});
  for (const ObjectiveChoice& choice : {with, without}) {
    CHECK(choice.names.size() + choice.left_out.size() == objective_names().size());
    for (const auto& entry : choice.left_out) CHECK_MESSAGE(!entry.second.empty(), entry.first);
  }
  for (const auto& [name, why] : with.left_out) {
    c.recipe.map.objective.name = name;
    if (c.recipe.map.objective.chosen("").needs.labels) CHECK(has(why, "set conditional = true"));
  }
  CHECK(with.names.size() > without.names.size());                 // without a teacher, consistency mid-training is left out
  for (const std::string& name : with.names)
    if (std::find(without.names.begin(), without.names.end(), name) == without.names.end()) {
      const auto found = std::find_if(without.left_out.begin(), without.left_out.end(), [&](const auto& entry) { return entry.first == name; });
      REQUIRE(found != without.left_out.end());
      CHECK_MESSAGE(has(found->second, "`flowmap_train fm` trains it"), found->second);
    }
  for (const std::string& name : without.names) {
    c.recipe.map.objective.name = name;
    CHECK(!c.recipe.map.objective.chosen("").needs.teacher);
  }
  c.recipe.map.velocity = "teacher";                               // now all objectives with a velocity source use a teacher
  c.objectives = "mean_flow";
  CHECK_THROWS_AS(chosen_objectives(c, false), ConfigError);
}

TEST_CASE("objective variants take steps, schedule and start from [map]; --vary is refused for keys that an objective ignores") {
  AblateConfig c = config();
  c.objectives = "lsd,mean_flow";
  c.recipe.map.loop.rate.warmup_steps = 100, c.recipe.map.loop.rate.decay_end = 8000;
  const std::vector<Variant> list = variants(c, chosen_objectives(c, false).names);
  REQUIRE(list.size() == 2);
  CHECK(list[0].name == "lsd");
  CHECK(list[0].recipe.map.objective.name == "lsd");
  CHECK(list[0].start == "random");
  c.vary = {"map.start=random,teacher,cmt"};
  std::vector<std::string> starts;
  for (const Variant& v : variants(c, {"lsd"})) starts.push_back(v.start);
  CHECK(starts == std::vector<std::string>{"random", "fm", "cmt"});
  c.objectives = "so_flow", c.vary = {"map.objective.so_flow.pairs.time.upper=0.5,1", "map.objective.so_flow.end_time.upper=0.5,1"};
  CHECK(variants(c, {"so_flow"})[1].name == "so_flow time.upper=0.5 end_time.upper=1");
  c.objectives = "lsd,mean_flow", c.vary = {};
  CHECK(list[0].steps() == 8000);                                  // the end of the schedule
  c.steps = 2000;
  const LoopConfig shorter = variants(c, {"lsd"})[0].recipe.map.loop;
  CHECK(shorter.steps == 2000);
  CHECK(shorter.rate.decay_end == 2000);
  CHECK(shorter.rate.warmup_steps == 25);
  c.vary = {"map.velocity=one-point,teacher"};
  CHECK(variants(c, {"lsd"})[1].name == "lsd velocity=teacher");
  const auto refused = [&](const std::string& part) {
    const std::string text = error_of<ConfigError>([&] { variants(c, chosen_objectives(c, false).names); });
    CHECK_MESSAGE(has(text, part), text);
  };
  c.vary = {"map.objective.name=lsd,mean_flow"};
  refused("--objectives a,b,c");
  c.vary = {"mfd.loop.batch=8,16"};
  refused("can vary map.*");
  c.vary = {"map.objective.mean_flow.metric.kind=l2,adaptive"};      // lsd does not read this key, so two names would mean one training
  refused("objective lsd is compared too, and does not read it");
  c.objectives = "mean_flow";
  CHECK(variants(c, {"mean_flow"}).size() == 2);
  c.vary = {"map.objective.preset=plain,published"};
  const std::vector<Variant> presets = variants(c, {"mean_flow"});
  CHECK(presets[1].name == "mean_flow preset=published");
  CHECK((presets[0].stage().objective_in(presets[0].recipe).claims.unbiased && !presets[1].stage().objective_in(presets[1].recipe).claims.unbiased));
  c.vary = {"map.objective.mean_flow.metric.kind=l2,adaptive"};
  c.recipe.map.objective.preset = "published";                       // this preset would replace the metric l2 by adaptive
  refused("that equals the setting's default would be replaced");
  c.recipe.map.objective.preset = "plain";
  c.vary = {};
  c.objectives = "lsd,mean_flaw";
  refused("there is no objective 'mean_flaw'");
  c.objectives = "lsd,lsd";
  refused("'lsd' occurs twice");
  c.objectives = "all", c.steps = 0, c.recipe.map.loop.rate.decay_end = 0;
  refused("give --steps");
}

TEST_CASE("the work of an objective counts its own passes and those of its velocity source; --equal uses that number") {
  AblateConfig c = config();
  c.steps = 1000;
  const auto work = [&](const std::string& name) { return evaluations_a_step(variants(c, {name})[0]); };
  for (const std::string& name : chosen_objectives(c, true).names) {
    CAPTURE(name);
    c.recipe.map.objective.name = name;
    const Needs needs = c.recipe.map.objective.chosen("").needs;
    const double teacher = c.recipe.network.cost(false).flops / c.recipe.network.cost(true).flops;         // the network with one time is a little smaller
    CHECK(near(work(name), 32 * (static_cast<double>(needs.rows) * (3 + needs.passes) + teacher * needs.teacher_calls), 1e-9));
  }
  const double before = work("mean_flow");
  c.recipe.map.velocity = "teacher";
  const double teacher = c.recipe.network.cost(false).flops / c.recipe.network.cost(true).flops;
  CHECK(near(work("mean_flow") - before, 32 * teacher, 1e-9));
  c.recipe.map.velocity = "one-point";
  std::vector<Variant> list = variants(c, {"flow_matching", "lsd"});
  equalise(list, "evaluations", {});
  CHECK(list[0].steps() == 1000);
  CHECK(list[1].steps() == std::llround(1000 * work("flow_matching") / work("lsd")));
}

TEST_CASE("course_of gives the largest norm of all steps, the median norm of the logged rows, and the final mean square") {
  const TempFolder folder;
  std::string csv = "step,time,loss,grad_norm,lr,grad_norm_max,raw_mse\n";
  for (int i = 1; i <= 20; ++i) csv += fmt::format("{},0,1,{},0,{},{}\n", i, i, i == 7 ? 419 : i + 1, 100 - i);
  write_atomically(folder / "metrics.csv", csv);
  const Course course = course_of({{folder / "metrics.csv"}});
  CHECK(course.median_norm == 10.5);
  CHECK(course.largest_norm == 419);
  CHECK(course.raw_mse == 80.5);                                   // the mean of 81 and 80
  CHECK(std::isnan(course_of({{folder / "nothing.csv"}}).median_norm));
  write_atomically(folder / "second.csv", "step,grad_norm,grad_norm_max\n1,30,500\n2,40,41\n");
  const std::vector<MetricsFile> both{{folder / "metrics.csv"}, {folder / "second.csv", 20}};        // the files of a training in two parts
  CHECK(course_of(both).largest_norm == 500);
  const Curve curve = column_of(both, "grad_norm");
  REQUIRE(curve.x.size() == 22);
  CHECK((curve.x[19] == 20 && curve.x[20] == 21 && curve.x[21] == 22 && curve.y[21] == 40));
}

TEST_CASE("ablate --what objective: all rows share one start, the teacher has a row, and only changed variants are trained again") {
  const TempFolder folder;
  const fs::path out = taught(folder);
  const Result result = compare(out, {});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const auto table = table_of(out / "ablate/objective/table.csv");
  AblateConfig same = config();
  same.steps = 4, same.recipe.map.loop.batch = 16;
  const std::vector<std::string> all = chosen_objectives(same, true).names;
  CHECK(all.size() > 8);
  CHECK(table.size() == all.size() + 1);
  for (const std::string& name : all) {
    CAPTURE(name);
    REQUIRE(table.contains(name));
    const Cells& row = table.at(name);
    for (const char* column : {"evaluations_a_step_mean", "seconds_a_step_mean", "peak_mib_mean", "grad_norm_median_mean", "grad_norm_largest_mean", "raw_mse_mean",
                               "energy_distance_1_mean", "energy_distance_2_mean", "energy_distance_4_mean"})
      CHECK_MESSAGE(std::isfinite(std::stod(row.at(column))), column);
    CHECK(row.at("map_error_1_mean").empty() == (name == "imm"));        // imm has no map error: its minimum is any map with the right samples
    CHECK(std::stod(row.at("grad_norm_largest_mean")) >= std::stod(row.at("grad_norm_median_mean")));
    CHECK(row.at("steps_mean") == "4");
  }
  CHECK(!table.at("teacher").at("energy_distance_4_mean").empty());
  CHECK(table.at("teacher").at("seconds_a_step_mean").empty());
  CHECK(has(table.at("flow_matching").at("note"), "ODE"));
  CHECK(table.at("mean_flow").at("note").empty());
  for (const char* column : {"derivative_error_mean", "frechet_1_mean", "accuracy_1_mean"}) CHECK_MESSAGE(!table.at("lsd").contains(column), column);

  const std::string report = read_file(out / "ablate/objective/report.html");
  for (const char* part : {"<table class=\"sortable\">", "lsd, 1 call: energy distance", "teacher, 1 call", "Dashed: one call of lsd from the same noise",
                           "Largest norm of the gradients between lines of the log"})
    CHECK_MESSAGE(has(report, part), part);
  CHECK_FALSE(has(report, "lsd, 2 calls:"));
  CHECK_FALSE(has(report, "Error of du/dt"));

  std::set<std::string> starts, weights;
  for (const auto& [name, row] : table_of(out / "ablate/objective/trials.csv")) {
    starts.insert(made_from(out / row.at("folder")).at("start").get<std::string>());
    weights.insert(row.at("checkpoint"));
  }
  CHECK(starts.size() == 1);                                       // all start from the same initial values
  CHECK(weights.size() == all.size());

  // A file of weights alone does not record the sampler, so convert warns.
  const auto convert = [&](const std::string& name) {
    const std::string from = (out / table_of(out / "ablate/objective/trials.csv").at(name).at("folder")).string() + ":ema";
    return run_program_file(own_folder().parent_path() / "apps" / "convert", {"--from", from, "--to", (out / "weights.safetensors").string()});
  };
  CHECK_MESSAGE(has(convert("ct").err, "its flow map adds noise between calls"), convert("ct").err);
  CHECK_MESSAGE(!has(convert("lsd").err, "warning"), convert("lsd").err);
  // Equal work leaves fewer steps than a schedule in steps needs.
  const Result late = compare(out, {"--objectives", "flow_matching,sct", "--equal", "evaluations", "--map.objective.sct.warmup.end", "4"});
  CHECK(late.code != 0);
  CHECK_MESSAGE(has(late.err, "map.objective.sct.warmup.end: the change to 1 ends at step 4, and the training has 3"), late.err);

  const Result again = compare(out, {"--map.objective.lsd.pairs.diagonal_share", "0.25"});
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK_MESSAGE(has(again.err, "lsd, seed 1: trained anew"), again.err);
  CHECK_MESSAGE(has(again.err, "map.objective.lsd.pairs.diagonal_share was 0.5, is 0.25"), again.err);
  CHECK_MESSAGE(!has(again.err, "mean_flow, seed 1: trained anew"), again.err);
  const auto now = table_of(out / "ablate/objective/table.csv");
  CHECK(now.at("mean_flow").at("energy_distance_2_mean") == table.at("mean_flow").at("energy_distance_2_mean"));
  CHECK(now.at("lsd").at("energy_distance_2_mean") != table.at("lsd").at("energy_distance_2_mean"));
}

TEST_CASE("ablate --jobs trains in parallel processes and gives the same weights as one process") {
  CHECK(job_command_line({"ablate", "--what", "objective"}, 3, 2, 8) ==
        std::vector<std::string>{"ablate", "--what", "objective", "--trial", "3", "-q", "--threads", "4"});
  CHECK(job_command_line({"ablate", "--threads", "1"}, 0, 4, 2) == std::vector<std::string>{"ablate", "--threads", "1", "--trial", "0", "-q"});
  CHECK(job_command_line({"ablate", "--threads=1"}, 0, 4, 2).size() == 5);
  CHECK(job_command_line({"ablate"}, 0, 4, 2).back() == "1");
  const TempFolder folder;
  const Arguments three{"--objectives", "flow_matching,lsd,mean_flow", "--seeds", "1,7"};
  for (const char* name : {"alone", "jobs"}) fs::create_directories(folder / name);
  const Result alone = compare(folder / "alone", three), jobs = compare(folder / "jobs", three + Arguments{"--jobs", "2"});
  REQUIRE_MESSAGE(alone.code == 0, alone.err);
  REQUIRE_MESSAGE(jobs.code == 0, jobs.err);
  CHECK_MESSAGE(has(jobs.err, "6 of 6 trainings done"), jobs.err);
  CHECK_MESSAGE(!has(jobs.err, "step 4/4"), jobs.err);                 // the first process finds all trainings finished
  const auto weights = [&](const char* name) {
    std::map<std::string, std::string> out;
    const CsvRows rows = parse_csv(read_file(folder / name / "ablate/objective/trials.csv"));
    const auto column = [&](const char* title) { return static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), title) - rows[0].begin()); };
    for (std::size_t r = 1; r < rows.size(); ++r) out[rows[r].at(column("folder"))] = rows[r].at(column("checkpoint"));
    return out;
  };
  CHECK(weights("jobs") == weights("alone"));
  CHECK(weights("jobs").size() == 6);
  // --fresh applies to the processes that train. The first process then trains nothing again.
  const Result fresh = compare(folder / "jobs", three + Arguments{"--jobs", "2", "--fresh"});
  REQUIRE_MESSAGE(fresh.code == 0, fresh.err);
  CHECK_MESSAGE(!has(fresh.err, "step 4/4"), fresh.err);
  CHECK(weights("jobs") == weights("alone"));
  for (const auto& entry : weights("jobs")) {
    const std::string trained = (folder / "jobs" / entry.first).string();
    CHECK((fs::exists(trained + ".old-1") && !fs::exists(trained + ".old-2")));
  }
  const Result beyond = compare(folder / "jobs", three + Arguments{"--trial", "6", "-q"});
  CHECK(beyond.code == exit_code::usage);
  CHECK_MESSAGE(has(beyond.err, "--trial 6: there are only 6 trainings"), beyond.err);
}

TEST_CASE("ablate --equal time computes the steps from measured seconds once, and then reads them from a file") {
  const TempFolder folder;
  const fs::path out = folder / "run", plans = out / "ablate/objective";
  fs::create_directories(out);
  const Arguments asked{"--steps", "40", "--objectives", "flow_matching,lsd", "--equal", "time", "--seeds", "1,2"};
  const Result early = compare(out, asked + Arguments{"--trial", "0", "-q"});
  CHECK(early.code == exit_code::unreadable);
  CHECK_MESSAGE(has(early.err, "is missing, which lists the steps of equal time"), early.err);
  const auto plan_files = [&] {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(plans))
      if (entry.path().filename().string().starts_with("steps-")) found.push_back(entry.path());
    return found;
  };
  const auto trials = [&] {                                        // rows of trials.csv by variant and seed
    std::map<std::string, Cells> found;
    const CsvRows cells = parse_csv(read_file(plans / "trials.csv"));
    for (std::size_t r = 1; r < cells.size(); ++r)
      for (std::size_t c = 0; c < cells[0].size(); ++c) found[cells[r].at(0) + " " + cells[r].at(1)][cells[0][c]] = cells[r].at(c);
    return found;
  };
  const Result first = compare(out, asked);
  REQUIRE_MESSAGE(first.code == 0, first.err);
  auto rows = trials();
  const auto number = [&](const char* row, const char* column) { return std::stod(rows.at(row).at(column)); };
  CHECK((number("flow_matching 1", "trained_steps") == 40 && number("flow_matching 2", "trained_steps") == 40));
  const double steps = 40 * number("flow_matching 1", "seconds_a_step") / number("lsd 1", "seconds_a_step");
  CHECK(near_within(number("lsd 1", "trained_steps"), steps, 0.5 + 1e-3));
  CHECK(number("lsd 2", "trained_steps") == number("lsd 1", "trained_steps"));
  REQUIRE(plan_files().size() == 1);
  const fs::path plan = plan_files()[0];
  CHECK(read_file(plan) == fmt::format("flow_matching = 40\nlsd = {}\n", rows.at("lsd 1").at("trained_steps")));

  write_atomically(plan, "flow_matching = 40\nlsd = 7\n");
  const Result second = compare(out, asked + Arguments{"--jobs", "2"});
  REQUIRE_MESSAGE(second.code == 0, second.err);
  CHECK_MESSAGE(has(second.err, "steps for equal time are those of"), second.err);
  CHECK_MESSAGE(has(second.err, "4 of 4 trainings done"), second.err);
  rows = trials();
  for (const char* row : {"lsd 1", "lsd 2"}) {
    CHECK(rows.at(row).at("trained_steps") == "7");
    CHECK(fs::exists(out / rows.at(row).at("folder") / "checkpoints/step-00000007"));
  }
  for (const char* bad : {"flow_matching = 40\n", "flow_matching = 40\nlsd = 0\n", "flow_matching = 40\nlsd = many\n"}) {
    write_atomically(plan, bad);
    const Result r = compare(out, asked + Arguments{"-q"});
    CHECK(r.code == exit_code::unreadable);
    CHECK_MESSAGE(has(r.err, "there are no steps for lsd; delete the file to measure anew"), r.err);
  }
  // Other settings under the same names are measured separately.
  fs::remove(plan);
  CHECK(compare(out, asked + Arguments{"--map.loop.batch", "8", "-q"}).code == 0);
  REQUIRE(plan_files().size() == 1);
  CHECK(plan_files()[0] != plan);
  fs::remove(plan_files()[0]);
  // If a schedule needs more steps, the error comes before any training.
  const Arguments late{"--objectives", "flow_matching,sct", "--map.objective.sct.warmup.end", "30"};
  compare(out, asked + late);
  REQUIRE(plan_files().size() == 1);
  write_atomically(plan_files()[0], "flow_matching = 40\nsct = 7\n");
  fs::remove_all(plans / "flow_matching");
  const Result refused = compare(out, asked + late + Arguments{"-q"});
  CHECK_FALSE(fs::exists(plans / "flow_matching"));
  CHECK(refused.code == exit_code::usage);
  CHECK_MESSAGE(has(refused.err, "map.objective.sct.warmup.end: the change to 1 ends at step 30, and the training has 7"), refused.err);
}

TEST_CASE("ablate without a teacher leaves out objectives that need one, and refuses them in --objectives") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  fs::create_directories(out);
  const Result plan = compare(out, {"--dry-run"});
  REQUIRE_MESSAGE(plan.code == 0, plan.err);
  CHECK_MESSAGE(has(plan.err, "cmt is left out: it learns from a teacher, and this run has none"), plan.err);
  CHECK_MESSAGE(has(plan.err, "mean_flow           from random  4 steps of 16, velocity one-point, 3.50 evaluations a sample"), plan.err);
  const Result asked = compare(out, {"--objectives", "mean_flow,cmt", "-q"});
  CHECK(asked.code == exit_code::usage);
  CHECK_MESSAGE(has(asked.err, "cmt: it learns from a teacher"), asked.err);
  const Result seeds = compare(out, {"--objectives", "mean_flow,flow_matching", "--seeds", "2"});
  REQUIRE_MESSAGE(seeds.code == 0, seeds.err);
  const auto table = table_of(out / "ablate/objective/table.csv");
  CHECK(table.size() == 2);                                        // no row for a teacher
  CHECK(table.at("mean_flow").at("energy_distance_1_n") == "2");
  CHECK(std::stod(table.at("mean_flow").at("energy_distance_1_deviation")) > 0);
}
