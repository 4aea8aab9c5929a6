// Every objective of the list, through the interface that trainings use. It has no residual for the closed-form flow map, the gradient of
// a batch is the mean over its parts, the loss needs only the drawn tensors, and schedules change their numbers.
#include "flowmap/objective/list.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "flowmap/sampler.h"
#include "tests/flowmap/support.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double rounding = 1e-24;

// Applies `change` to the settings of the objectives with a grid of times: CT, iCT and CD.
template <class Change> void change_grids(ObjectiveConfig& o, const Change& change) {
  change(std::get<CtConfig>(o.entries)), change(std::get<IctConfig>(o.entries)), change(std::get<CdConfig>(o.entries));
}

// Settings under which the exact map has no residual: no clamp, no dropped labels, alpha at its limit, short steps where an entry makes steps.
ObjectiveConfig exact(const std::string& name) {
  ObjectiveConfig o;
  o.name = name;
  std::get<AlphaFlowConfig>(o.entries).clamp = 0;
  std::get<AlphaFlowConfig>(o.entries).alpha = 0;
  std::get<ShortcutConfig>(o.entries).clamp = 0;
  std::get<ShortcutConfig>(o.entries).bootstrap_share = 0.5;
  std::get<CmtConfig>(o.entries).pairs = 4;
  std::get<CtmConfig>(o.entries).solver_steps = 100;
  std::get<SoFlowConfig>(o.entries).alpha = 1e-3;
  change_grids(o, [](DiscreteCmConfig& c) { c.first_points = c.last_points = 2001; });
  std::get<EctConfig>(o.entries).stage = 9;
  std::get<SctConfig>(o.entries).warmup = std::get<ScdConfig>(o.entries).warmup = 1;
  std::get<TransitionModelConfig>(o.entries).derivative.kind = "jvp";
  o.set_null_label(4);
  std::apply([](auto&... entry) { ((entry.labels.probability = 0), ...); }, o.entries);
  return o;
}

// Turns the learned weight of rows on, for the objectives that can have one.
void weigh_rows(ObjectiveConfig& o) {
  const auto on = [](auto& entry) {
    if constexpr (requires { entry.row_weight; }) entry.row_weight = true;
  };
  std::apply([&](auto&... entry) { (on(entry), ...); }, o.entries);
}

// exact(name) with steps as long as in trainings and with the learned weight of rows.
ObjectiveConfig stepping(const std::string& name) {
  ObjectiveConfig o = exact(name);
  std::get<AlphaFlowConfig>(o.entries).alpha = 0.5;
  std::get<SoFlowConfig>(o.entries).alpha = 0.5;
  change_grids(o, [](DiscreteCmConfig& c) { c.first_points = c.last_points = 18; });
  std::get<EctConfig>(o.entries).stage = 2;
  weigh_rows(o);
  return o;
}

Nets nets_of(const FlowMapNet& u, const VelocityNet& v) {
  const LogVariance l = [](const Tensor& s, const Tensor& t) { return Var(0.3 * t - s); };
  return {.net = u, .target = u, .teacher = v, .velocity = teacher(v), .log_variance = l, .shape = {dim}, .dtype = DType::f64};
}

// The batch of a training. It always has labels, and data if the objective needs data.
Batch batch_for(const Needs& needs, std::int64_t rows) {
  Batch b = gaussian_batch(rows);
  if (!needs.data) b.z0 = {};
  return b;
}

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }

// Settings with the same number of rows with s < t in every batch. `kind` is that of du/dt and selects other settings that change the number of passes.
ObjectiveConfig counted(const std::string& name, const std::string& kind) {
  ObjectiveConfig o = exact(name);
  const auto count = [](auto& entry) {
    if constexpr (requires { entry.pairs.exact_share; }) entry.pairs.exact_share = true;
  };
  std::apply([&](auto&... entry) { (count(entry), ...); }, o.entries);
  std::get<MeanFlowConfig>(o.entries).derivative.kind = std::get<ContinuousCmConfig>(o.entries).derivative.kind = kind;
  std::get<ImprovedMeanFlowConfig>(o.entries).derivative.kind = std::get<GuidedMeanFlowConfig>(o.entries).derivative.kind = kind;
  std::get<ImprovedMeanFlowConfig>(o.entries).omega = kind == "central" || kind == "semi" ? 2 : 1;
  std::get<ImprovedMeanFlowConfig>(o.entries).labels.probability = 0.1;                     // guidance needs it
  std::get<GuidedMeanFlowConfig>(o.entries).kappa = kind == "forward" ? 0 : 0.92;
  std::get<TransitionModelConfig>(o.entries).derivative.kind = kind;
  std::get<SctConfig>(o.entries).derivative.kind = std::get<ScdConfig>(o.entries).derivative.kind = std::get<FacmConfig>(o.entries).derivative.kind = kind;
  std::get<AlphaFlowConfig>(o.entries).alpha = 0.5;
  std::get<CmtConfig>(o.entries).solver = kind == "jvp" ? "euler" : "heun";
  std::get<LsdConfig>(o.entries).through_derivative = kind == "jvp" || kind == "central";
  std::get<LsdConfig>(o.entries).end_velocity = kind == "jvp" ? "own" : "teacher";
  std::get<EsdConfig>(o.entries).through_space = kind == "jvp" || kind == "central";
  std::get<EsdConfig>(o.entries).velocity = kind == "jvp" || kind == "semi" ? "own" : "source";
  std::get<CtmConfig>(o.entries).solver = kind == "jvp" ? "heun" : "euler";
  std::get<CtmConfig>(o.entries).solver_steps = 3;
  std::get<CdConfig>(o.entries).solver = kind == "jvp" ? "euler" : "heun";
  return o;
}

// The number of passes that call no network: tangents, gradients of tangents, and gradients with respect to the input of a frozen network.
double tangents_of(const std::string& name, const ObjectiveConfig& config) {
  const auto tangent = [](const auto& entry) -> double { return entry.derivative.kind == "jvp" || entry.derivative.kind == "semi"; };
  const auto of_derivative = [&](const auto& entry) { return (1 - entry.pairs.diagonal_share) * tangent(entry); };
  if (name == SctConfig::name) return tangent(std::get<SctConfig>(config.entries));
  if (name == ScdConfig::name) return tangent(std::get<ScdConfig>(config.entries));
  if (name == FacmConfig::name) return tangent(std::get<FacmConfig>(config.entries));
  if (name == TransitionModelConfig::name) return of_derivative(std::get<TransitionModelConfig>(config.entries));
  if (name == MeanFlowConfig::name) return of_derivative(std::get<MeanFlowConfig>(config.entries));
  if (name == GuidedMeanFlowConfig::name) return of_derivative(std::get<GuidedMeanFlowConfig>(config.entries));
  if (name == ImprovedMeanFlowConfig::name) return of_derivative(std::get<ImprovedMeanFlowConfig>(config.entries));
  if (name == ContinuousCmConfig::name) return of_derivative(std::get<ContinuousCmConfig>(config.entries));
  const auto share = [](const auto& entry) { return 1 - entry.pairs.diagonal_share; };
  if (name == LsdConfig::name) return share(std::get<LsdConfig>(config.entries)) * (std::get<LsdConfig>(config.entries).through_derivative ? 3 : 1);
  if (name == LmdConfig::name) return share(std::get<LmdConfig>(config.entries));
  if (name == EsdConfig::name) return share(std::get<EsdConfig>(config.entries)) * (std::get<EsdConfig>(config.entries).through_space ? 3 : 4);
  if (name == CtmConfig::name) return share(std::get<CtmConfig>(config.entries));
  return name == TvmConfig::name || name == FlowMapMatchingConfig::name ? 3 : 0;
}

}  // namespace

TEST_CASE("the list contains the objectives of this folder, each under one name") {
  const std::vector<std::string> names = objective_names();
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  for (const char* name : {"flow_matching", "cmt", "mean_flow", "guided_mean_flow", "improved_mean_flow", "alpha_flow", "so_flow", "ct", "ict", "cd", "ect",
                           "continuous_cm", "lsd", "lmd", "esd", "tvm", "flow_map_matching", "ctm", "shortcut", "split_mean_flow", "imm", "tim",
                           "sct", "scd", "facm"})
    CHECK_MESSAGE(std::count(names.begin(), names.end(), name) == 1, name);
  ObjectiveConfig wrong;
  wrong.name = "meanflow";
  CHECK_THROWS_WITH_AS(wrong.chosen("map.objective"), doctest::Contains("there is no objective 'meanflow': known are flow_matching, cmt, mean_flow"), ConfigError);
}

TEST_CASE("the published preset changes only settings that were left at their defaults") {
  ObjectiveConfig config;
  config.name = "mean_flow", config.preset = "published";
  std::get<MeanFlowConfig>(config.entries).metric.c = 0.5;
  std::get<MeanFlowConfig>(config.entries).pairs.time.mean = -1;
  std::map<std::string, std::string> filled;
  for (const auto& [path, value] : config.preset_values()) filled[path] = value;
  CHECK(filled["metric.kind"] == "adaptive");
  CHECK(filled["pairs.time.distribution"] == "logit_normal");
  CHECK((filled.contains("metric.c") || filled.contains("pairs.time.mean") || filled.contains("derivative.kind")) == false);
  const Objective published = config.chosen("map.objective");
  CHECK_FALSE(published.claims.unbiased);                                        // because of the adaptive metric
  CHECK(published.remark.starts_with("published: "));
  CHECK(published.remark.find("metric.kind adaptive") != std::string::npos);
  // The config keeps the given values, so a stored config with the published preset can be trained with plain settings.
  CHECK(std::get<MeanFlowConfig>(config.entries).metric.kind == "l2");
  config.preset = "plain";
  CHECK(config.preset_values().empty());
  CHECK(config.chosen("map.objective").claims.unbiased);
  CHECK(config.chosen("map.objective").remark == "");
}

TEST_CASE("every published preset is accepted by its objective; objectives without one use plain settings and have a remark") {
  std::set<std::string> as_plain;
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    ObjectiveConfig config;
    config.name = name, config.preset = "published";
    config.chosen("map.objective").check(100000);
    if (config.preset_values().empty()) as_plain.insert(name);
    CHECK((config.chosen("map.objective").remark == "published: as plain") == config.preset_values().empty());
  }
  CHECK(as_plain == std::set<std::string>{"flow_matching", "cmt", "ct", "cd", "lmd", "ctm", "imm"});
}

// The numbers of the papers and their code, converted to data of deviation 1 where the paper's data have 1/2.
TEST_CASE("every published preset has the numbers of its paper or code") {
  const std::string whole = "pairs.time.upper 1, pairs.time.shift 1", logit = "pairs.time.distribution logit_normal, pairs.time.mean ";
  const std::map<std::string, std::string> published{
      {"mean_flow", logit + "-0.4, " + whole + ", metric.kind adaptive, metric.c 0.01"},
      {"guided_mean_flow", logit + "-0.4, " + whole + ", metric.kind adaptive, metric.c 0.01"},
      {"improved_mean_flow", logit + "-0.4, " + whole + ", pairs.diagonal_share 0.5, metric.kind adaptive, metric.c 0.01"},
      {"alpha_flow", logit + "-0.4, " + whole + ", pairs.diagonal_share 0.5, metric.kind adaptive, metric.reduction mean, metric.c 0.001"},
      {"so_flow", whole + ", end_time.upper 1, end_time.shift 1, diagonal_time.upper 1, diagonal_time.shift 1, metric.kind adaptive, metric.reduction mean, metric.c 0.01"},
      {"tim", whole + ", derivative.clamp_times false, metric.kind adaptive, metric.reduction mean, metric.c 1e-05"},
      {"ict", "metric.kind pseudo_huber"},
      {"ect", "time.upper 1, time.shift 1, metric.kind power, metric.p 0.5"},
      {"continuous_cm", logit + "-0.8, " + whole + ", pairs.zero_share 0, tangent.warmup 0.99, tangent.warmup_over 10000, tangent.normalise 0.1"},
      {"sct", "warmup.end 10000, normalise 0.1, row_weight true, time.upper 1, time.shift 1"},
      {"scd", "warmup.end 10000, normalise 0.1, row_weight true, time.upper 1, time.shift 1"},
      {"facm", "cosine 1, time.upper 1, time.shift 1, metric.kind adaptive, metric.reduction mean, metric.c 0.001, metric.p 0.5, tangent.clamp_residual 1"},
      {"lsd", "row_weight true, " + whole},
      {"esd", "row_weight true, " + whole},
      {"split_mean_flow", "row_weight true, " + whole},
      {"tvm", "time.upper 1, time.shift 1, second_time.upper 1, second_time.shift 1"},
      {"flow_map_matching", "time.upper 1, time.shift 1"},
      {"shortcut", "time.upper 1, time.shift 1"}};
  for (const std::string& name : objective_names()) {
    ObjectiveConfig config;
    config.name = name, config.preset = "published";
    const auto wanted = published.find(name);
    CHECK_MESSAGE(config.chosen("map.objective").remark == "published: " + (wanted == published.end() ? "as plain" : wanted->second), name);
  }
}

TEST_CASE("the presets of guided MeanFlow have the rows and the metric of each code, and belong to it alone") {
  const std::string shared = "pairs.time.distribution logit_normal, pairs.time.mean -0.4, pairs.time.upper 1, pairs.time.shift 1, ", rows = "pairs.exact_share true, pairs.null_rows_diagonal true, ";
  const std::map<std::string, std::string> codes{{"official", shared + rows + "metric.kind adaptive, metric.c 0.01"},
                                                 {"haoyizhu", shared + rows + "metric.kind adaptive, metric.c 1"},
                                                 {"zhuyu-cs", shared + "metric.kind squared_adaptive, metric.c 0.001"}};
  CHECK(objective_presets() == std::vector<std::string>{"plain", "published", "official", "haoyizhu", "zhuyu-cs"});
  for (const auto& [code, settings] : codes) {
    ObjectiveConfig config;
    config.name = "guided_mean_flow", config.preset = code;
    CHECK(config.chosen("map.objective").remark == code + ": " + settings);
    CHECK(std::get<GuidedMeanFlowConfig>(config.entries).pairs.diagonal_share == 0.75);
    config.name = "mean_flow";
    CHECK(error_of<ConfigError>([&] { config.chosen("map.objective"); }) == "objective preset " + code + ": mean_flow has the presets plain and published");
  }
}

TEST_CASE("objectives have no residual on the closed-form flow map, except IMM and TiM; a wrong map has one") {
  const GaussianFlow g = gaussian();
  const FlowMapNet right = g.u();
  const FlowMapNet wrong = [right](const Var& z, const Var& s, const Var& t, const Labels& y) { return right(z, s, t, y) * 1.01; };
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const Objective o = exact(name).chosen("objective");
    const Batch batch = batch_for(o.needs, 32);
    if (name == "imm") continue;                               // its minimum is not the map: tests/flowmap/imm.cpp
    const auto residual = [&](const FlowMapNet& u) {
      const Nets nets = nets_of(u, g.v());
      return raw(o.loss(nets, o.draw(batch, nets, {})));
    };
    // TiM's derivative goes along eps - z0, whatever w is. This direction is right only on average, so single rows have a residual.
    if (name == "tim") {
      CHECK_FALSE(o.claims.exact);
      CHECK(residual(right) > 1e-3);
      continue;
    }
    // CMT's chords have the error of Euler's method, CTM's targets that of 100 Heun steps. A short straight step has an error in proportion to its square,
    // and the residual of a wrong map is small with the step, too.
    const bool short_steps = !o.claims.exact && name != "cmt" && name != "ctm";
    CHECK(residual(right) < (o.claims.exact ? rounding : name == "cmt" ? 2e-2 : 1e-9));
    CHECK(residual(wrong) > (short_steps ? std::max(1e-11, 10 * residual(right)) : std::max(1e-6, residual(right))));
  }
}

TEST_CASE("every objective's gradient of a batch is the mean of the gradients of its parts") {
  const SmallNet small;
  const GaussianFlow g = gaussian();
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const Objective o = stepping(name).chosen("objective");
    const Nets nets = nets_of(small.net(), g.v());
    const Batch whole = batch_for(o.needs, 16);
    const auto of_rows = [&](std::int64_t first, std::int64_t n) {
      Batch part;
      if (whole.z0.defined()) part.z0 = whole.z0.slice(0, first, first + n);
      part.y = whole.y.slice(0, first, first + n);
      part.draws = {whole.draws.seed, whole.draws.step, {whole.draws.samples.begin() + first, whole.draws.samples.begin() + first + n}};
      return gradient(small, [&] { return o.loss(nets, o.draw(part, nets, {})).loss; });
    };
    const auto all = of_rows(0, 16), a = of_rows(0, 8), b = of_rows(8, 8);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      worst = std::max(worst, std::abs(all[i] - 0.5 * (a[i] + b[i])));
      largest = std::max(largest, std::abs(all[i]));
    }
    CHECK(largest > 1e-3);
    CHECK(worst < 1e-13 * std::max(1.0, largest));
  }
}

TEST_CASE("a loss depends only on the drawn tensors: repeating it gives the same bits, and overwriting a tensor changes it") {
  const SmallNet small;
  const GaussianFlow g = gaussian();
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const Objective o = stepping(name).chosen("objective");
    const Nets nets = nets_of(small.net(), g.v());
    Batch first = batch_for(o.needs, 16), second = first;
    second.draws.step = first.draws.step + 1;
    Drawn a = o.draw(first, nets, {}), b = o.draw(second, nets, {});
    const double of_a = o.loss(nets, a).loss.value().item(), of_b = o.loss(nets, b).loss.value().item();
    CHECK(of_a != of_b);
    CHECK(o.loss(nets, a).loss.value().item() == of_a);
    if (a.form() != b.form()) continue;                        // the number of rows with s < t was drawn, and it differs
    std::vector<Tensor*> into, from;
    a.each_tensor([&](Tensor& t) { into.push_back(&t); });
    b.each_tensor([&](Tensor& t) { from.push_back(&t); });
    REQUIRE(into.size() == from.size());
    for (std::size_t i = 0; i < into.size(); ++i) into[i]->copy_from(*from[i]);
    a.p.draws = {};                                            // the loss needs no random numbers
    CHECK(o.loss(nets, a).loss.value().item() == of_b);
  }
}

TEST_CASE("an eighth of Shortcut's samples have a jump, in batches of any size; a sample's jump does not depend on the batch") {
  const ShortcutConfig config{.bootstrap_share = 0.125, .labels = {0, 4}};
  const auto jumps = [&](std::int64_t rows, std::uint32_t step) { return draw_dyadic_jumps(gaussian_batch(rows, DType::f64, step), config); };
  std::int64_t of_four = 0;
  for (std::uint32_t step = 0; step < 16; ++step) {
    CHECK(jumps(64, step).off_diagonal == 8);
    const PathBatch whole = jumps(16, step), part = jumps(8, step);
    REQUIRE(part.off_diagonal == 1);
    const auto has_sample = [&](std::int64_t sample) {
      const auto& all = whole.draws.samples;
      return std::find(all.begin(), all.begin() + whole.off_diagonal, sample) != all.begin() + whole.off_diagonal;
    };
    CHECK(has_sample(part.draws.samples[0]));
    of_four += jumps(4, step).off_diagonal;
  }
  CHECK(of_four == 8);                                         // an eighth of the 16 * 4 rows has s < t
  std::map<double, int> lengths;                               // the same eight samples at each step
  for (std::uint32_t step = 0; step < 56; ++step) {
    const PathBatch p = jumps(8, step);
    ++lengths[(p.t - p.s).select(0, 0).item()];
  }
  CHECK(lengths.size() == 7);                                  // a jump has one of the lengths 1, 1/2 ... 1/64
  for (const auto& entry : lengths) CHECK(entry.second == 8);
}

TEST_CASE("schedules: values at the ends and between, with bounds given as shares or as steps") {
  const Ramp sigmoid("sigmoid", 1, 0);
  CHECK(sigmoid.at({0, 100}) == 1);
  CHECK(near(sigmoid.at({50, 100}), 0.5, 1e-15));
  CHECK(near(sigmoid.at({45, 100}), 1 - 1 / (1 + std::exp(25 * 0.05)), 1e-14));
  CHECK(sigmoid.at({100, 100}) == 0);
  // alpha-Flow's schedule: alpha is 1 (flow matching) before 29 % of the window and 0 (MeanFlow) after 71 %
  for (const Ramp& window : {sigmoid, [] { Ramp r("sigmoid", 1, 0); r.begin = 600, r.end = 1000; return r; }()}) {
    const double first = window.begin, length = window.end > 1 ? 400 : 1000;
    const auto at = [&](double share) { return window.at({std::llround(first + share * length), length > 500 ? 1000 : 1200}); };
    CHECK(at(0.285) == 1);
    CHECK(near(at(0.29), 1 - 1 / (1 + std::exp(25 * 0.21)), 1e-13));
    CHECK(near(at(0.71), 1 / (1 + std::exp(25 * 0.21)), 1e-13));
    CHECK(at(0.715) == 0);
  }
  Ramp linear("linear", 2, 4);
  linear.begin = 10, linear.end = 20;
  CHECK(linear.at({5, 1000}) == 2);
  CHECK(near(linear.at({15, 1000}), 3, 1e-15));
  CHECK(linear.at({30, 1000}) == 4);
  Ramp exponential("exponential", 0.1, 0.001);
  CHECK(near(exponential.at({5, 10}), 0.01, 1e-14));
  CHECK(Ramp(0.25).at({7, 10}) == 0.25);
}

TEST_CASE("an invalid schedule is refused before the first step, and the error names its key") {
  const auto error = [](const Ramp& ramp, std::int64_t steps = 1000) { return error_of<ConfigError>([&] { ramp.check("map.alpha", steps, 0, 1); }); };
  Ramp linear("linear", 0.2, 0.4);
  CHECK(error(linear) == "no error");
  linear.begin = 10, linear.end = 5;
  CHECK(mentions(error(linear), {"map.alpha", "0.2", "0.4", "10", "5", "1000", "map.alpha.end"}));
  linear.end = 10;
  CHECK(error(linear).find("begins at step 10 and ends at step 10 of 1000") != std::string::npos);
  linear.end = 0.5;                                            // a share: step 500 of 1000, step 5 of 10
  CHECK(error(linear) == "no error");
  CHECK(error(linear, 10).find("begins at step 10 and ends at step 5 of 10") != std::string::npos);
  linear.begin = 0, linear.end = 10000;
  CHECK(error(linear, 10000) == "no error");
  CHECK(mentions(error(linear, 9999), {"map.alpha.end", "0.4", "10000", "9999", "0.2"}));
  CHECK(error(Ramp("exponential", 0.1, 0)).find("both must be above 0") != std::string::npos);
  CHECK(mentions(error(Ramp("sigmoid", 1, -0.1)), {"map.alpha.to = -0.1", "between 0 and 1"}));
  CHECK(mentions(error(Ramp(1.5)), {"map.alpha.from = 1.5", "between 0 and 1"}));
  Ramp constant(1);
  constant.to = 7;                                             // has no effect
  CHECK(error(constant) == "no error");
}

TEST_CASE("a derivative whose warm-up is longer than the training is refused, in every objective that has one") {
  int refused = 0;
  const auto check = [&](auto entry) {
    if constexpr (requires { entry.tangent.warmup_over; }) {
      entry.tangent.warmup_over = 10000;
      const Objective objective = make_objective(entry, "map.objective.it");
      objective.check(10000);
      CHECK(error_of<ConfigError>([&] { objective.check(9999); }).starts_with("map.objective.it.tangent.warmup_over = 10000 steps, and the training has 9999"));
      entry.tangent.warmup_over = 2;
      CHECK_THROWS_AS(make_objective(entry).check(1), ConfigError);
      for (const double share : {1.0, 0.5}) {
        entry.tangent.warmup_over = share;
        for (const std::int64_t steps : {600, 0}) make_objective(entry).check(steps);
      }
      ++refused;
    }
  };
  std::apply([&](const auto&... entry) { (check(entry), ...); }, ObjectiveList());
  CHECK(refused == 4);                                         // mean_flow, guided_mean_flow, continuous_cm, facm
}

TEST_CASE("alpha-Flow is refused before the first step if its metric is not one for which its weight is derived") {
  ObjectiveConfig config;
  config.name = "alpha_flow";
  auto& alpha = std::get<AlphaFlowConfig>(config.entries);
  for (const char* kind : {"l2", "adaptive"}) {
    alpha.metric.kind = kind;
    config.chosen("map.objective").check(100);
  }
  for (const char* kind : {"squared_adaptive", "pseudo_huber", "log", "power"}) {
    alpha.metric.kind = kind;
    const std::string error = error_of<ConfigError>([&] { config.chosen("map.objective").check(100); });
    CHECK(error.starts_with(std::string("map.objective.alpha_flow.metric.kind = ") + kind));
    CHECK_THROWS_AS(alpha_flow(SmallNet().net(), draw_path_batch(gaussian_batch(4), {}, {}), one_point(), alpha), ConfigError);
  }
}

TEST_CASE("a step's cost follows from the objective's passes and the calls of networks and teacher") {
  const GaussianFlow g = gaussian();
  constexpr std::int64_t rows = 64;
  for (const std::string& name : objective_names())
    for (const std::string kind : {"jvp", "central", "forward", "semi"}) {
      CAPTURE(name);
      CAPTURE(kind);
      const ObjectiveConfig config = counted(name, kind);
      const Objective o = config.chosen("objective");
      std::int64_t of_net = 0, of_teacher = 0, of_source = 0;
      const FlowMapNet u = [&, map = g.u()](const Var& z, const Var& s, const Var& t, const Labels& y) { return of_net += z.dim(0), map(z, s, t, y); };
      const VelocityNet v = [&, exact = g.v()](const Var& z, const Var& t, const Labels& y) { return of_teacher += z.dim(0), exact(z, t, y); };
      const VelocitySource w = [&](const PathBatch& p) { return of_source += p.rows(), one_point()(p); };
      const Nets nets{.net = u, .target = u, .teacher = v, .velocity = w, .shape = {dim}, .dtype = DType::f64};
      o.loss(nets, o.draw(batch_for(o.needs, rows), nets, {1, 4}));
      CHECK(of_source == (o.needs.velocity ? rows : 0));
      CHECK(static_cast<double>(of_teacher) == rows * o.needs.teacher_calls);
      CHECK(o.needs.teacher == (of_teacher > 0));
      // A tangent is computed in the call of the rows that are graded.
      CHECK(static_cast<double>(of_net) + rows * tangents_of(name, config) == rows * static_cast<double>(o.needs.rows) * (1 + o.needs.passes));
    }
}

TEST_CASE("alpha-Flow's schedule goes from the velocity to MeanFlow, and each phase has its own form of computation") {
  const SmallNet small;
  const GaussianFlow g = gaussian();
  ObjectiveConfig config = exact("alpha_flow");
  std::get<AlphaFlowConfig>(config.entries).alpha = Ramp("sigmoid", 1, 0);
  const Objective o = config.chosen("objective");
  const Nets nets = nets_of(small.net(), g.v());
  const Batch batch = gaussian_batch(16);
  const auto at_step = [&](std::int64_t step) { return o.draw(batch, nets, {step, 100}); };
  CHECK(at_step(0).variant != at_step(50).variant);
  CHECK(at_step(50).variant == at_step(51).variant);
  CHECK(at_step(100).variant != at_step(50).variant);
  MeanFlowConfig limit;
  limit.labels = {0, 4};
  const double mf = mean_flow(small.net(), at_step(100).p, teacher(g.v()), limit).loss.value().item();
  CHECK(o.loss(nets, at_step(100)).loss.value().item() == mf);
  std::get<AlphaFlowConfig>(config.entries).alpha = 1.5;
  CHECK_THROWS_AS(config.chosen("objective").draw(batch, nets, {}), ConfigError);
}
