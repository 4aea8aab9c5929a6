// ablate --what lambda: its trainings, their teachers, and its measured terms, which must agree with the proposition. On configs/toy.toml.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "flowmap/training/ablation/lambda.h"
#include "apps/cli/program.h"
#include "data/report/csv.h"
#include "flowmap/gaussian.h"
#include "tensor/random/fill.h"
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

const Arguments few{"--what", "lambda", "--lambdas", "0,0.5,1", "--steps", "4", "--timing-rounds", "1", "--evaluate.samples", "60", "--fm.loop.steps", "300",
                    "--lambda-start", "random", "--mfd.loop.batch", "16"};

AblateConfig config() {
  AblateConfig c;
  c.what = "lambda";
  c.recipe.data = "points:8gaussians", c.recipe.space = "identity", c.recipe.network.name = "mlp", c.recipe.conditional = false;
  c.recipe.fm.loop.steps = 4000, c.recipe.fm.loop.rate.warmup_steps = 100, c.recipe.fm.loop.rate.decay_end = 4000;
  c.recipe.mfd.loop.steps = 10;
  c.recipe.resolve_with_data();
  return c;
}

nlohmann::json made_from(const fs::path& training) {
  return nlohmann::json::parse(read_file(training / "checkpoints" / "step-00000004" / "state.json")).at("made_from");
}

// E |eps - z0 - v|^2 and E |v - h*|^2 per element on sampled points: the expected terms for a network that is 0 everywhere.
struct Expected {
  double noise, own;
};
Expected of_no_network() {
  constexpr std::int64_t n = 4000;
  const Tensor eps = random_normal({n, 2}, {71, 1}).to(DType::f64), jitter = random_normal({n, 2}, {71, 2}).to(DType::f64);
  std::vector<double> z0, s, t;
  const std::vector<double> uniform = random_uniform({n, 3}, {71, 3}).to(DType::f64).to_vector<double>(), spread = jitter.to_vector<double>();
  for (std::size_t i = 0; i < n; ++i) {
    const double angle = std::floor(8 * uniform[3 * i]) * std::acos(-1.0) / 4;
    z0.push_back(std::sqrt(2.0) * std::cos(angle) + 0.1 * spread[2 * i]), z0.push_back(std::sqrt(2.0) * std::sin(angle) + 0.1 * spread[2 * i + 1]);
    s.push_back(std::min(uniform[3 * i + 1], uniform[3 * i + 2])), t.push_back(std::max(uniform[3 * i + 1], uniform[3 * i + 2]));
  }
  const Tensor data = Tensor::from(z0, {n, 2}), from = Tensor::from(s, {n}), to = Tensor::from(t, {n});
  const Tensor z = interpolate(data, eps, to);
  const VelocityNet exact = eight_gaussians().v();
  const Tensor v = evaluate(exact, z, to, {}), h = (z - eight_gaussians().map(z, from, to, 60)) / column(to - from, 2);
  return {mean(square(eps - data - v)).item(), mean(square(v - h)).item()};
}

}  // namespace

TEST_CASE("lambda has one variant without a teacher and the others for each teacher; the poor teacher has a complete schedule") {
  AblateConfig c = config();
  std::vector<std::string> names, velocities;
  std::vector<Variant> list = variants(c);
  for (const Variant& v : list) names.push_back(v.name), velocities.push_back(v.recipe.mfd.velocity);
  CHECK(names == std::vector<std::string>{"lambda=0", "good lambda=0.25", "good lambda=0.5", "good lambda=0.75", "good lambda=1", "poor lambda=0.25",
                                          "poor lambda=0.5", "poor lambda=0.75", "poor lambda=1", "poor lambda=1 then 0"});
  CHECK(velocities[0] == "one-point");
  CHECK(velocities[1] == "blend=0.25");
  CHECK(velocities[4] == "teacher");
  CHECK(list[9].recipe.mfd.loop.steps == 5);
  CHECK(list[9].then->loop.steps == 5);
  CHECK(list[9].then->velocity == "one-point");
  CHECK(list[3].start == "cmt");
  use_poor_teacher(list, "a:ema");
  for (const Variant& v : list) CHECK_MESSAGE(v.recipe.teacher_weights == (has(v.name, "poor") ? "a:ema" : ""), v.name);

  const Variant poor = poor_teacher(c);
  CHECK(poor.steps() == 200);
  CHECK(poor.recipe.fm.loop.rate.decay_end == 200);
  CHECK(poor.recipe.fm.loop.rate.warmup_steps == 5);
  CHECK(poor.start == "random");

  c.lambdas = {0.5, 0.5};
  CHECK(has(error_of<ConfigError>([&] { variants(c); }), "--lambdas 0.5,0.5: a number occurs twice"));
  c.lambdas = {};
  CHECK(has(error_of<ConfigError>([&] { variants(c); }), "give at least one number"));
  c.recipe.fm.loop.steps = 0;
  CHECK(has(error_of<ConfigError>([&] { poor_teacher(c); }), "fm.loop.steps is 0"));
}

TEST_CASE("ablate --what lambda: bias and variance are those of the proposition; only variants whose settings change are trained again") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  const Result taught = run("flowmap_train fm", out, {"--steps", "300", "-q"});
  REQUIRE_MESSAGE(taught.code == 0, taught.err);
  const Arguments bad{"--poor-share", "0.05"};
  const Result plan = run("ablate", out, few + bad + Arguments{"--dry-run"});
  CHECK_MESSAGE(has(plan.err, "poor-teacher        from random  15 steps of 256"), plan.err);
  CHECK(!fs::exists(out / "ablate"));
  const Result result = run("ablate", out, few + bad + Arguments{"--jobs", "2"});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  CHECK_MESSAGE(!has(result.err, "ended with exit code"), result.err);       // the training processes share one poor teacher
  const fs::path where = out / "ablate/lambda";
  const auto table = table_of(where / "table.csv");
  const auto number = [&](const std::string& row, const std::string& column) { return std::stod(table.at(row).at(column + "_mean")); };
  REQUIRE(table.size() == 6 + 2);
  // The network is 0 at the start of training, so A = I and B = v - h*.
  const Expected expected = of_no_network();
  const double noise = number("lambda=0", "noise_start");
  CHECK(near(noise, expected.noise, 0.1));                         // both are means over about 4,000 points
  CHECK(near(number("lambda=0", "own_bias_start"), expected.own, 0.1));
  const std::map<std::string, std::pair<double, double>> lambdas{{"lambda=0", {0, 0}}, {"good lambda=0.5", {0.5, 0.5}}, {"good lambda=1", {1, 1}}, {"poor lambda=0.5", {0.5, 0.5}},
                                                                 {"poor lambda=1", {1, 1}}, {"poor lambda=1 then 0", {1, 0}}};
  for (const auto& entry : lambdas) {
    const std::string& name = entry.first;
    const auto [first, last] = entry.second;
    CAPTURE(name);
    CHECK(near(number(name, "noise_start"), noise, 1e-5));
    const auto is_variance = [&](const std::string& when, double lambda) {
      const double found = number(name, "variance_" + when);
      if (lambda == 1) CHECK(found == 0);
      else CHECK(near(found, (1 - lambda) * (1 - lambda) * number(name, "noise_" + when), 1e-4));
    };
    is_variance("start", first), is_variance("end", last);
    CHECK((number(name, "teacher_bias_end") == 0) == (last == 0));
    for (const char* column : {"own_bias_end", "energy_distance_1", "map_error_1", "energy_distance_4", "seconds_a_step"}) CHECK_MESSAGE(std::isfinite(number(name, column)), column);
    CHECK(table.at(name).at("note") == "v is exact");
  }
  for (const std::string teacher : {"good", "poor"})
    CHECK(near(4 * number(teacher + " lambda=0.5", "teacher_bias_start"), number(teacher + " lambda=1", "teacher_bias_start"), 1e-4));
  CHECK(number("poor lambda=1", "teacher_bias_start") > 1.1 * number("good lambda=1", "teacher_bias_start"));
  for (const char* level : {"good teacher, 50 calls", "poor teacher, 50 calls"}) {
    CAPTURE(level);
    CHECK(number(level, "energy_distance_1") == number(level, "energy_distance_4"));
    CHECK(table.at(level).at("steps_mean").empty());
  }
  CHECK(number("poor teacher, 50 calls", "energy_distance_1") != number("good teacher, 50 calls", "energy_distance_1"));
  const std::string page = read_file(where / "report.html");
  for (const char* title : {"Variance and bias of the target, at the start", "map error, 1 call"}) CHECK_MESSAGE(has(page, title), title);

  std::map<std::string, std::set<std::string>> teachers;
  std::set<std::string> starts;
  const auto trials = table_of(where / "trials.csv");
  for (const auto& [name, row] : trials) {
    if (has(name, "then") || name == "lambda=0") continue;
    const nlohmann::json from = made_from(out / row.at("folder"));
    starts.insert(from.at("start").get<std::string>());
    teachers[name.substr(0, 4)].insert(from.at("teacher").get<std::string>());
    CHECK(near(std::stod(row.at("noise_start")), noise, 1e-5));
  }
  CHECK(starts.size() == 1);
  REQUIRE(teachers.at("good").size() == 1);
  REQUIRE(teachers.at("poor").size() == 1);
  CHECK(teachers.at("good") != teachers.at("poor"));

  const Result again = run("ablate", out, few + Arguments{"--lambdas", "1", "--poor-share", "0.1"});
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK_MESSAGE(has(again.err, "poor lambda=1, seed 1: trained anew"), again.err);
  CHECK_MESSAGE(has(again.err, "fm.loop.steps was 15, is 30"), again.err);
  CHECK_MESSAGE(!has(again.err, "good lambda=1, seed 1: trained anew"), again.err);
  const auto now = table_of(where / "trials.csv");
  CHECK(now.at("good lambda=1").at("folder") == trials.at("good lambda=1").at("folder"));
  CHECK(now.at("poor lambda=1").at("folder") != trials.at("poor lambda=1").at("folder"));
}
