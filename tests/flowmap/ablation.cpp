// Measurements and reports of ablations, without training: seconds on a fake clock, the work of other processes from a text like /proc/stat, and tables and
// pages for trials that were not measured.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <sstream>

#include "flowmap/training/ablation/busy.h"
#include "flowmap/training/ablation/report.h"
#include "nn/layers/linear.h"
#include "tensor/random/fill.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// A fake clock. A student call advances it by 1 s a row, a teacher call by 100 s a row, and every call of the warm-up round by 5000 s more.
struct Clock : Messages {
  double now = 0;
  bool cold = true;
  std::map<std::string, int> students;                             // number of students made from each start

  void message(Level, std::string_view text) override { cold = text.find("to warm up") != std::string_view::npos; }
  void pass(std::int64_t rows, double each) { now += each * static_cast<double>(rows) + (cold ? 5000 : 0); }
};
Clock& passed() {
  static Clock clock;
  return clock;
}

struct Net {
  struct { bool mean_flow = true; } config;
  Linear layer{2, 2};
  template <class V> void visit(V&& v) { v("layer", layer); }
  Var operator()(const Var& z, const Var& s, const Var& t, const Labels&) const {
    passed().pass(z.dim(0), 1);
    return layer(z) * column(t + s, 2);
  }
  Var operator()(const Var& z, const Var& t, const Labels& y) const { return (*this)(z, t, t, y); }
};

class Measured : public Subject {
 public:
  Network student(const std::string& start) override {
    ++passed().students[start];
    const auto net = std::make_shared<Net>();
    reset_parameters(*net, 1);
    return Network(net);
  }
  TeacherVelocity velocity(const Recipe&, bool) override {
    return {[](const Var& z, const Var&, const Labels&) { return passed().pass(z.dim(0), 100), z * 0.5; }};
  }
  Batch batch(std::int64_t rows, std::uint64_t seed) override { return {random_normal({rows, 2}, {seed, 1}), {}, {seed, 0, consecutive(0, rows)}}; }
};

std::vector<StepCost> costs_of(const std::vector<Variant>& list, std::int64_t rounds = 2) {
  Measured subject;
  passed() = {};
  return step_costs(subject, list, 3, rounds, passed(), [] { return passed().now; });
}

AblateConfig config_of(const std::string& what) {
  AblateConfig c;
  c.what = what;
  c.recipe.data = "points:8gaussians", c.recipe.space = "identity", c.recipe.network.name = "mlp", c.recipe.conditional = false;
  c.recipe.mfd.loop.steps = 9, c.recipe.mfd.loop.batch = 8;
  c.recipe.mfd.objective.pairs.diagonal_share = 0.5, c.recipe.mfd.objective.pairs.exact_share = true;
  c.recipe.map.velocity = "one-point", c.recipe.map.start = "random", c.recipe.map.loop.batch = 8;
  c.recipe.resolve_with_data();
  return c;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a variant's seconds are the median of the rounds after the first; each part of a training counts by its share of the steps") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.01};
  for (const std::int64_t rounds : {1, 2}) {
    const std::vector<StepCost> costs = costs_of(variants(c), rounds);
    REQUIRE(costs.size() == 2);
    CHECK(costs[0].seconds == 8 * 101);                            // one call of teacher and student for each row
    CHECK(costs[1].seconds == 8 * 101 + 2 * 4);                    // each of the 4 rows with s < t needs two more calls of the student
    CHECK(costs[0].spread == 0);
  }
  c = config_of("none"), c.vary = {"mfd.loop.batch=512,8,16"};
  const std::vector<StepCost> costs = costs_of(variants(c));
  REQUIRE(costs.size() == 3);
  CHECK((costs[0].seconds == 512 * 101 && costs[1].seconds == 8 * 101 && costs[2].seconds == 16 * 101));
  CHECK(costs[0].peak_mib > 4 * costs[2].peak_mib);
  CHECK(costs[2].peak_mib > costs[1].peak_mib);
  const std::vector<StepCost> parts = costs_of(variants(config_of("scheme")));
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].seconds == 8);                                    // trained from data: no teacher call
  CHECK(parts[1].seconds == 8 * 101);
  CHECK(near(parts[2].seconds, (4 * 8 * 101 + 5 * 8) / 9.0, 1e-12));
  costs_of(variants(config_of("init")));                           // each variant makes 4 students: one for the error, one in each of 3 rounds
  CHECK(passed().students == std::map<std::string, int>{{"cmt", 4}, {"fm", 4}, {"random", 4}});
}

TEST_CASE("an objective's seconds are the mean of its first, middle and last step") {
  AblateConfig c = config_of("objective");
  c.steps = 100, c.objectives = "alpha_flow";
  auto& alpha = std::get<AlphaFlowConfig>(c.recipe.map.objective.entries);
  alpha.pairs = {.diagonal_share = 0.5, .exact_share = true};
  const auto seconds = [&](const Ramp& schedule) {
    alpha.alpha = schedule;
    return costs_of(variants(c, {"alpha_flow"}))[0].seconds;
  };
  // With alpha = 1 or alpha = 0 each row needs one call of the network. With 0 < alpha < 1 a row with s < t needs one call more.
  CHECK(near(seconds(Ramp("sigmoid", 1, 0)), 8 + 4 / 3.0, 1e-12));
  CHECK(seconds(Ramp(0.5)) == 12);
  Ramp begins("linear", 1, 0);
  begins.begin = 0.9;
  CHECK(near(seconds(begins), 8 + 4 / 3.0, 1e-12));                // only at the last of the three steps, 99, is 0 < alpha < 1
}

TEST_CASE("equal time: each variant gets as many steps as fit into the first variant's time, and at least one") {
  AblateConfig c = config_of("none");
  c.vary = {"mfd.loop.batch=8,16,4"};
  std::vector<Variant> list = variants(c);
  equalise(list, "time", costs_of(list));
  CHECK((list[0].steps() == 9 && list[1].steps() == 5 && list[2].steps() == 18));                // 4.5 is rounded up
  equalise(list, "time", {StepCost{.seconds = 1}, StepCost{.seconds = 100}, StepCost{.seconds = 0.5}});
  CHECK((list[0].steps() == 9 && list[1].steps() == 1 && list[2].steps() == 18));
  equalise(list, "steps", {});
  CHECK(list[2].steps() == 18);
}

TEST_CASE("other processes' load: ticks are parsed from /proc/stat, and their share of all cores is computed and reported") {
  const auto ticks = [](const std::string& text) {
    std::istringstream stat(text);
    return cpu_ticks(stat, 30);
  };
  const auto found = ticks("cpu  100 10 50 800 40 1 2 3 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
  REQUIRE(found);
  CHECK((found->all == 1006 && found->busy == 166 && found->own == 30));        // busy: without idle (800) and waiting for a disk (40)
  for (const char* bad : {"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8\n"}) CHECK_FALSE(ticks(bad));

  const CpuTicks start{.busy = 100, .all = 1000, .own = 20};
  CHECK(near(*share_of_others(start, {.busy = 190, .all = 1200, .own = 50}), 0.3, 1e-12));
  CHECK(*share_of_others(start, {.busy = 110, .all = 1200, .own = 50}) == 0);   // rounding can make the own ticks exceed the busy ones; the share is then 0
  CHECK_FALSE(share_of_others(start, {.busy = 149, .all = 1049, .own = 20}));
  CHECK(*share_of_others(start, {.busy = 150, .all = 1050, .own = 20}) == 1);

  CHECK(busy_line(0.1, {0.2}, 9, 2) == "times: other work took 10 % of 2 cores, load 9.0, spread of rounds 20 %: a quiet machine");
  CHECK(has(busy_line(0.11, {}, 0, 2), "spread of rounds 0 %: a busy machine, compare s/step with care"));
  CHECK(has(busy_line(0, {0.21, 0.1, 0.3}, 0, 2), "spread of rounds 21 %: a busy machine"));
  CHECK(busy_line(std::nullopt, {}, 1, 2) == "times: other work is unknown on 2 cores, load 1.0, spread of rounds 0 %: too short to tell whether the machine was busy");
  CHECK(has(busy_line(std::nullopt, {}, 1.1, 2), "a busy machine"));
}

TEST_CASE("an unmeasured trial is not shown as 0: in the table, in the list of trials, on the page") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.1, 0.01};
  const auto findings = [&](bool second) {
    Findings f{.what = "derivative", .subtitle = {}, .variants = variants(c), .trials = {}, .calls = {}, .busy = {}};
    for (std::size_t i = 0; i < f.variants.size(); ++i) f.trials.push_back({.variant = i, .seed = 1, .cost = StepCost{.derivative_error = 0.1, .seconds = 2}});
    if (second)
      for (std::size_t i = 0; i < f.variants.size(); ++i) f.trials.push_back({.variant = i, .seed = 2});
    return f;
  };
  for (const bool second : {false, true})                          // only the first seed was measured: error 0.1, 2 s
    CHECK(has(csv_text(table_of(findings(second))), "\nfd-0.1,0.1,,1,0,,1,2,,1,0,,1,"));
  Findings none = findings(true);
  none.trials.erase(none.trials.begin(), none.trials.begin() + 3);
  CHECK(table_of(none).columns.size() == 1);                       // the number of evaluations per step, which needs no measurement
  CHECK(has(trials_csv(none), "jvp,2,9,,finished,,,,,"));
  const auto curves = [](const Findings& f) {
    const std::string page = report_html(f, table_of(f), "nowhere");
    const std::size_t at = page.find("Error of du/dt against f64");
    REQUIRE(at != std::string::npos);
    return page.substr(at, page.find("</svg>", at) - at);
  };
  CHECK(curves(findings(false)) == curves(findings(true)));
}

TEST_CASE("the page plots the error over the step of a difference only if each step has one error") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.1, 0.01};
  const auto page = [&] {
    Findings f{.what = "derivative", .subtitle = {}, .variants = variants(c), .trials = {}, .calls = {}, .busy = {}};
    for (std::size_t i = 0; i < f.variants.size(); ++i) f.trials.push_back({.variant = i, .seed = 1, .cost = StepCost{.derivative_error = 0.1}});
    return report_html(f, table_of(f), "nowhere");
  };
  const std::string with = page(), title = "Error of du/dt against f64";
  CHECK(has(with, title));
  for (const char* two_errors : {"mfd.loop.batch=8,16", "mfd.objective.pairs.diagonal_share=0.25,0.5"}) {
    c.vary = {two_errors};
    CHECK_FALSE(has(page(), title));
    CHECK(count_of(page(), "<svg") + 1 == count_of(with, "<svg"));
  }
}

TEST_CASE("--jobs trains seed by seed, and the longest training of each seed first") {
  AblateConfig c = config_of("derivative");
  c.deltas = {0.1, 0.01};
  Findings f{.what = "derivative", .subtitle = {}, .variants = variants(c), .trials = {}, .calls = {}, .busy = {}};
  REQUIRE(f.variants.size() == 3);
  for (const std::int64_t seed : {7, 1})
    for (std::size_t i = 0; i < 3; ++i) f.trials.push_back({.variant = i, .seed = seed, .cost = StepCost{.seconds = (seed == 1 ? 10.0 : 1.0) * static_cast<double>(i % 2 + 1)}});
  CHECK(training_order(f) == std::vector<std::size_t>{1, 0, 2, 4, 3, 5});
  set_steps(f.variants[0], 3 * f.variants[0].steps());             // variant 0 has the faster steps, but now three times as many
  CHECK(training_order(f) == std::vector<std::size_t>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("metrics of a training in two parts: the second part's steps continue from the first part's") {
  const std::vector<Variant> list = variants(config_of("scheme"));
  const std::filesystem::path run = "run";
  const std::vector<MetricsFile> two = metrics_of(run, list[2], {.folder = "a"}), one = metrics_of(run, list[1], {.folder = "a"});
  REQUIRE(two.size() == 2);
  CHECK((two[0].path == run / "a" / first_part / "metrics.csv" && two[0].steps_before == 0));
  CHECK((two[1].path == run / "a" / "metrics.csv" && two[1].steps_before == 4));
  REQUIRE(one.size() == 1);
  CHECK((one[0].path == run / "a" / "metrics.csv" && one[0].steps_before == 0));
  CHECK(metrics_of(run, list[2], {}).empty());                     // a trial without a folder was not trained
}
