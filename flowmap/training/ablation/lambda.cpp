#include "flowmap/training/ablation/lambda.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "data/source.h"
#include "flowmap/bias_variance.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/plane_run.h"
#include "flowmap/velocity.h"
#include "nn/config/toml_text.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"

namespace fm {
namespace {

constexpr const char *good = "good", *poor = "poor";
constexpr std::int64_t rows_in_plane = 4096;
constexpr int steps_of_exact_map = 64;             // Runge-Kutta steps; the error is far below the networks' errors
constexpr std::size_t terms = 4;                   // number of terms measured at the start, and again at the end

std::string velocity_at(double lambda) {
  return lambda == 0 ? "one-point" : lambda == 1 ? "teacher" : fmt::format("blend={:g}", lambda);
}

// The points where the terms are measured (points of the path with s < t, in f64 if v is exact), with v and the exact map there.
struct Place {
  PathBatch p;
  VelocityNet v;
  FlowMapNet map;                                  // empty: unknown
};

bool is_known(TrainingRun& run, const std::string& name) {
  const Recipe& r = run.recipe();
  return r.in_plane() && !r.conditional && r.guidance == 1 && known_mixture(name) && !run.space().statistics().defined();
}

PathBatch in_f64(const PathBatch& p) {
  const auto wide = [](const Tensor& x) { return x.to(DType::f64); };
  PathBatch out{wide(p.z0), wide(p.eps), {}, wide(p.s), wide(p.t), p.y, p.off_diagonal, {}};
  out.z = interpolate(out.z0, out.eps, out.t);
  return out;
}

// Points with times from the variant's distribution, but without s = t.
PathBatch points(TrainingRun& run, const Variant& v, std::int64_t seed) {
  const MfStage& stage = v.recipe.mfd;
  const std::int64_t rows = run.recipe().in_plane() ? rows_in_plane : stage.loop.batch;
  PairConfig pairs = stage.objective.pairs;
  pairs.diagonal_share = 0;
  const Batch batch = run.flow_batch({0, 0, rows}, rows, 54321 + static_cast<std::uint64_t>(seed));      // no training uses this seed
  const PathBatch p = draw_path_batch(batch, pairs, stage.objective.labels);
  const std::int64_t k = p.off_diagonal;
  if (k == 0) throw ConfigError(fmt::format("{}: no row of the batch has s < t: take a larger --mfd.loop.batch", v.name));
  return {first_rows(p.z0, k), first_rows(p.eps, k), first_rows(p.z, k), first_rows(p.s, k), first_rows(p.t, k), first_rows(p.y, k), k, {}};
}

class Terms {
 public:
  Terms(TrainingRun& run, const RunOf& run_of)
      : run_(run), run_of_(run_of), source_(open_source(run.recipe().data, Split::test)->name()), known_(is_known(run, source_)) {}

  bool known() const { return known_; }

  // Returns the four terms: noise, variance, teacher's bias, own bias.
  std::vector<double> of(const Variant& v, std::int64_t seed, const Network& student, double lambda) {
    const Place& place = place_of(v, seed);
    TrainingRun& taught = run_of_(v);
    const Network teacher = taught.load_teacher();
    const BiasVariance b = bias_variance(known_ ? student.in_f64().u() : student.u(), place.p, place.v,
                                         taught.guided(known_ ? teacher.in_f64().v() : teacher.v()), place.map);
    return {b.noise, b.variance(lambda), b.bias(lambda), b.own};
  }

 private:
  const Place& place_of(const Variant& v, std::int64_t seed) {
    MeanFlowConfig drawn = v.recipe.mfd.objective;
    const auto [found, is_new] = places_.try_emplace(fmt::format("{} {} {}", seed, v.recipe.mfd.loop.batch, to_toml(list_fields(drawn))));
    Place& place = found->second;
    if (!is_new) return place;
    place.p = points(run_, v, seed);
    if (!known_) return place.v = run_.load_teacher().v(), place;
    place.p = in_f64(place.p);
    place.v = known_mixture(source_)->v();
    const Tensor exact = evaluate(average_velocity(place.v, steps_of_exact_map), place.p.z, place.p.s, place.p.t, {});
    place.map = [exact](const Var&, const Var&, const Var&, const Labels&) { return Var(exact); };      // only called for these points
    return place;
  }

  TrainingRun& run_;
  const RunOf& run_of_;
  std::string source_;
  bool known_;
  std::map<std::string, Place> places_;
};

std::vector<TableColumn> term_columns() {
  std::vector<TableColumn> out;
  for (const char* when : {"start", "end"})
    for (const auto& [key, title] : {std::pair{"noise", "noise"}, {"variance", "variance"}, {"teacher_bias", "teacher's bias"}, {"own_bias", "own bias"}})
      out.push_back({fmt::format("{}_{}", key, when), fmt::format("{}, {}", title, when), "{:.3g}", true});
  return out;
}

// Scores a teacher's samples in its full number of calls. A map that learns only from this teacher cannot be expected to score better.
void score_teacher(TrainingRun& run, const std::string& name, std::int64_t seed, Findings& f) {
  const Recipe& r = run.recipe();
  if (!r.evaluate.teacher) return;
  const auto add = [&](Score score) {
    f.levels.push_back({fmt::format("{} teacher, {} calls", name, score.calls), "its own samples; the same score in every column of calls", score});
  };
  const StageSpec& stage = stage_that_makes(Makes::teacher);
  if (!r.in_plane()) {
    Evaluator evaluator(run);
    return scored_generators(run, stage.scored_as, {r.evaluate.teacher_points}, [&](const ScoredGenerator& g) { add(evaluator.score(g)); });
  }
  PlaneRun plane = plane_of(run, *open_source(r.data, Split::test));
  plane.seed = static_cast<std::uint64_t>(seed);
  Score of;
  scored_generators(run, stage.scored_as, {r.evaluate.teacher_points}, [&](const ScoredGenerator& g) { add_generator(plane, run, g), of = g.of; });
  const std::vector<PlaneScore> scores = plane_scores(plane);
  for (const Metric& m : scores.at(0).values) of.metrics[m.name] = m.value;
  add(of);
}

double lambda_of(const Variant& v) { return teacher_share(v.recipe.mfd.velocity); }

// Returns the curve over lambda of a number of one teacher's variants. The training with l = 0 belongs to both teachers.
Curve over_lambda(const Findings& f, const std::string& teacher, const std::string& name, const std::function<double(const Trial&)>& number) {
  Curve out{.name = name, .x = {}, .y = {}, .markers = true};
  for (std::size_t i = 0; i < f.variants.size(); ++i) {
    const Variant& v = f.variants[i];
    if (v.then || (!v.teacher.empty() && v.teacher != teacher)) continue;
    std::vector<double> values;
    for (const Trial& t : f.trials)
      if (t.variant == i) values.push_back(number(t));
    out.x.push_back(lambda_of(v)), out.y.push_back(statistics(values).mean);
  }
  return out;
}

// Plots the terms over lambda. `first`: index in Trial::own of the first term.
Plot terms_plot(const Findings& f, std::size_t first, const std::string& when) {
  const auto term = [first](std::size_t i) {
    return [at = first + i](const Trial& t) { return at < t.own.size() ? t.own[at] : Score::none; };
  };
  Plot plot{.title = "Variance and bias of the target, " + when, .x_label = "lambda", .y_label = "mean square", .curves = {}, .log_y = true};
  for (const char* teacher : {good, poor}) {
    plot.curves.push_back(over_lambda(f, teacher, fmt::format("variance, {} teacher", teacher), term(1)));
    plot.curves.push_back(over_lambda(f, teacher, fmt::format("{} teacher's bias", teacher), term(2)));
    plot.curves.push_back(over_lambda(f, teacher, fmt::format("own bias, {} teacher", teacher), term(3)));
    plot.curves.back().dashed = true;
  }
  std::erase_if(plot.curves, [](const Curve& c) { return std::none_of(c.y.begin(), c.y.end(), [](double y) { return std::isfinite(y); }); });
  return plot;
}

// Plots one metric in the first number of calls over lambda, with horizontal lines for both teachers and for the training in two parts.
Plot score_plot(const Findings& f, const std::string& metric) {
  const auto number = [&](const Trial& t) { return t.scores.empty() ? Score::none : t.scores.front().metric(metric); };
  std::string title = metric;
  std::replace(title.begin(), title.end(), '_', ' ');
  const int calls = f.calls.front();
  Plot plot{.title = fmt::format("{}, {} call{}", title, calls, calls == 1 ? "" : "s"), .x_label = "lambda", .y_label = title, .curves = {}, .log_y = true};
  for (const char* teacher : {good, poor}) plot.curves.push_back(over_lambda(f, teacher, fmt::format("flow map, {} teacher", teacher), number));
  const std::vector<double> x = plot.curves.front().x;
  const auto level = [&](const std::string& name, double y) { plot.curves.push_back({.name = name, .x = x, .y = std::vector<double>(x.size(), y), .dashed = true}); };
  for (const Level& l : f.levels) level(l.name, l.score.metric(metric));
  for (std::size_t i = 0; i < f.variants.size(); ++i) {
    if (!f.variants[i].then) continue;
    std::vector<double> values;
    for (const Trial& t : f.trials)
      if (t.variant == i) values.push_back(number(t));
    level(f.variants[i].name, statistics(values).mean);
  }
  return plot;
}

bool has_metric(const Findings& f, const std::string& metric) {
  return std::any_of(f.trials.begin(), f.trials.end(), [&](const Trial& t) { return !t.scores.empty() && std::isfinite(t.scores.front().metric(metric)); });
}

}  // namespace

std::vector<Variant> lambda_variants(const AblateConfig& c) {
  std::vector<double> lambdas = c.lambdas;
  std::sort(lambdas.begin(), lambdas.end());
  if (lambdas.empty()) throw ConfigError("--lambdas: give at least one number");
  if (std::adjacent_find(lambdas.begin(), lambdas.end()) != lambdas.end())
    throw ConfigError(fmt::format("--lambdas {}: a number occurs twice; give each once", fmt::join(c.lambdas, ",")));
  std::vector<Variant> list;
  const auto add = [&](const std::string& teacher, double lambda) {
    list.push_back({.name = fmt::format("{}{}lambda={:g}", teacher, teacher.empty() ? "" : " ", lambda), .start = c.lambda_start, .recipe = c.recipe, .teacher = teacher});
    list.back().recipe.mfd.velocity = velocity_at(lambda);
  };
  if (lambdas.front() == 0) add("", 0);
  for (const char* teacher : {good, poor})
    for (const double lambda : lambdas)
      if (lambda > 0) add(teacher, lambda);
  add(poor, 1);
  Variant& both = list.back();
  both.name += " then 0";
  both.then = both.recipe.mfd;
  both.then->velocity = velocity_at(0);
  set_steps(both, c.recipe.mfd.loop.steps);
  return list;
}

Variant poor_teacher(const AblateConfig& c) {
  const std::int64_t steps = c.recipe.fm.loop.steps;
  if (steps == 0)
    throw ConfigError("--what lambda: fm.loop.steps is 0, but the second, briefly trained teacher takes a share of these steps: set it to the steps of the "
                      "run's teacher");
  Variant v{.name = "poor-teacher", .start = "random", .recipe = c.recipe, .part = stage_name::fm};
  stretch(v.recipe.fm.loop, std::max<std::int64_t>(1, std::llround(c.poor_share * static_cast<double>(steps))));
  return v;
}

void refuse_joint_teacher(TrainingRun& run) {
  if (run.has_joint_teacher())
    throw ConfigError(fmt::format("--what lambda compares the teacher's velocity of the latents with the true one, and {} is a REG, whose velocity also takes a class "
                                  "token: give a SiT or REPA as teacher_weights", run.recipe().teacher_weights));
}

void use_poor_teacher(std::vector<Variant>& list, const std::string& weights) {
  for (Variant& v : list)
    if (v.teacher == poor) v.recipe.teacher_weights = weights;
}

void measure_lambda(TrainingRun& run, const RunOf& run_of, Findings& f) {
  run.context().log.info("terms of the targets of {} trainings ...", f.trials.size());
  f.own_columns = term_columns();
  Terms measured(run, run_of);
  f.note = measured.known() ? "v is exact" : "v is the good teacher's";
  std::map<std::string, Network> starts;
  TrainingRun* taught_badly = nullptr;
  for (Trial& t : f.trials) {
    check_interrupt();
    const Variant& v = f.variants[t.variant];
    if (v.teacher == poor) taught_badly = &run_of(v);
    Network& start = starts[v.start];
    if (!start) start = run.start_of_flow_map(v.start);
    t.own = measured.of(v, t.seed, start, lambda_of(v));
    std::vector<double> end(terms, Score::none);
    if (!t.diverged) end = measured.of(v, t.seed, run.load_student(t.folder), v.then ? teacher_share(v.then->velocity) : lambda_of(v));
    t.own.insert(t.own.end(), end.begin(), end.end());
  }
  const std::int64_t seed = f.trials.front().seed;
  if (run.has_teacher()) score_teacher(run, good, seed, f);
  if (taught_badly != nullptr) score_teacher(*taught_badly, poor, seed, f);
}

std::vector<Plot> lambda_plots(const Findings& f) {
  std::vector<double> x = over_lambda(f, poor, "", [](const Trial&) { return 0.0; }).x;
  std::sort(x.begin(), x.end());
  if (f.own_columns.empty() || std::adjacent_find(x.begin(), x.end()) != x.end()) return {};
  std::vector<Plot> plots{terms_plot(f, 0, "at the start"), terms_plot(f, terms, "at the end")};
  for (const char* metric : {"energy_distance", "map_error", "frechet"})
    if (has_metric(f, metric)) plots.push_back(score_plot(f, metric));
  return plots;
}

}  // namespace fm
