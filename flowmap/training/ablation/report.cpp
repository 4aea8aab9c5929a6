#include "flowmap/training/ablation/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/report/csv.h"
#include "flowmap/metrics/sample_metrics.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

// A column of the table, and the function that returns its value for a trial.
struct TrialColumn {
  TableColumn column;
  std::function<double(const Findings&, const Trial&)> value;
  bool is_score = false;                 // follows from Trial::scores alone, so that teachers have the column too
};

struct CostColumn {
  const char *key, *title, *format;
  bool log;
  double StepCost::*member;
};
constexpr CostColumn cost_columns[] = {{"derivative_error", "du/dt error", "{:.2e}", true, &StepCost::derivative_error},
                                       {"target_error", "target error", "{:.2e}", true, &StepCost::target_error},
                                       {"seconds_a_step", "s/step", "{:.3g}", false, &StepCost::seconds},
                                       {"peak_mib", "peak MiB", "{:.1f}", false, &StepCost::peak_mib}};

struct CourseColumn {
  const char *key, *title, *format;
  double Course::*member;
};
constexpr CourseColumn course_columns[] = {{"grad_norm_median", "gradient norm, median", "{:.3g}", &Course::median_norm},
                                           {"grad_norm_largest", "gradient norm, largest", "{:.3g}", &Course::largest_norm},
                                           {"raw_mse", "mean square", "{:.4g}", &Course::raw_mse}};

double cost_of(const Trial& t, double StepCost::*member) { return t.cost ? (*t.cost).*member : Score::none; }

// Seconds of a step divided by its evaluations, relative to the first variant. The number is 1 if a step costs as much as its objective
// declares.
double time_an_evaluation(const Findings& f, const Trial& t) {
  const auto seconds = [&](const Trial& of) { return cost_of(of, &StepCost::seconds) / evaluations_a_step(f.variants[of.variant]); };
  for (const Trial& first : f.trials)
    if (first.variant == 0 && first.seed == t.seed) return seconds(t) / seconds(first);
  return Score::none;
}

// NaN if the trial has no score in this number of calls: it diverged, or its flow map cannot be sampled with that number.
double number_at(const Trial& t, int calls, const ScoreColumn& c) {
  for (const Score& s : t.scores)
    if (s.calls == calls) return score_number(s, c);
  return Score::none;
}

// The column's title, "energy". Columns that other tables do not show have no title; their name is used, "map error".
std::string title_of(const ScoreColumn& c) {
  std::string title = *c.title ? c.title : c.name;
  std::replace(title.begin(), title.end(), '_', ' ');
  return title;
}

// Whether only some kinds of samples have the column. In the plane every column counts as such, because points have only some of the metrics.
bool is_of_some_samples(const ScoreColumn& c, bool in_plane) {
  if (in_plane) return true;
  const auto has_it = [&](const SampleMetric& m) {
    return m.is_for != nullptr && std::any_of(m.values.begin(), m.values.end(), [&](const MetricValue& v) { return std::string_view(v.name) == c.name; });
  };
  return !*c.title || std::any_of(sample_metrics().begin(), sample_metrics().end(), has_it);
}

std::vector<TrialColumn> measured_columns(const Findings& f) {
  using F = const Findings&;
  using T = const Trial&;
  std::vector<TrialColumn> out;
  const auto any = [&](const std::function<double(T)>& number) { return std::any_of(f.trials.begin(), f.trials.end(), [&](T t) { return std::isfinite(number(t)); }); };
  for (const CostColumn& c : cost_columns)
    if (any([&](T t) { return cost_of(t, c.member); })) out.push_back({{c.key, c.title, c.format, c.log}, [&c](F, T t) { return cost_of(t, c.member); }});
  out.push_back({{"evaluations_a_step", "evaluations/step", "{:.0f}"}, [](F all, T t) { return evaluations_a_step(all.variants[t.variant]); }});
  if (f.what == "objective" && any([&](T t) { return time_an_evaluation(f, t); }))
    out.push_back({{"time_an_evaluation", fmt::format("time/evaluation, {} = 1", f.variants[0].name), "{:.2f}"}, [](F all, T t) { return time_an_evaluation(all, t); }});
  if (f.calls.empty()) return out;
  out.push_back({{"steps", "steps", "{:.0f}"}, [](F all, T t) { return static_cast<double>(all.variants[t.variant].steps()); }});
  for (const CourseColumn& c : course_columns)
    if (any([&](T t) { return t.course.*c.member; })) out.push_back({{c.key, c.title, c.format, true}, [&c](F, T t) { return t.course.*c.member; }});
  for (std::size_t i = 0; i < f.own_columns.size(); ++i) {
    const auto value = [i](T t) { return i < t.own.size() ? t.own[i] : Score::none; };
    if (any(value)) out.push_back({f.own_columns[i], [value](F, T t) { return value(t); }});
  }
  const bool scored = std::any_of(f.trials.begin(), f.trials.end(), [](T t) { return !t.scores.empty(); });     // false: all diverged
  for (std::size_t i = 0; i < f.calls.size(); ++i)
    for (const ScoreColumn& c : score_columns()) {
      if (!c.measured || std::string_view(c.name) == "psnr") continue;        // only reconstructions have it
      const bool has_some = any([&](T t) { return number_at(t, f.calls[i], c); });
      if (!has_some && (scored || is_of_some_samples(c, f.in_plane))) continue;
      const std::string calls_title = fmt::format("{} call{}", f.calls[i], f.calls[i] == 1 ? "" : "s");
      out.push_back({{fmt::format("{}_{}", c.name, f.calls[i]), fmt::format("{}, {}{}", title_of(c), calls_title, *c.unit ? fmt::format(" ({})", c.unit) : ""),
                      fmt::format("{{:.{}f}}", c.decimals)},
                     [calls = f.calls[i], &c](F, T t) { return c.factor * number_at(t, calls, c); },
                     true});
    }
  return out;
}

// The remarks on a variant's row: diverged trainings, a sampler other than jumps, published settings, and the remark `of_all` of all variants.
std::string note(const Variant& variant, const std::vector<const Trial*>& trials, const std::string& of_all) {
  const auto n = std::count_if(trials.begin(), trials.end(), [](const Trial* t) { return t->diverged; });
  std::vector<std::string> parts{n == 0 ? "" : trials.size() == 1 ? "diverged" : fmt::format("{} of {} diverged", n, trials.size()), sampler_text(variant), preset_text(variant), of_all};
  std::erase(parts, "");
  return fmt::format("{}", fmt::join(parts, "; "));
}

// A row with values in the columns of scores only. A teacher was trained once, so there is no deviation.
TableRow scored_row(const Findings& f, const std::vector<TrialColumn>& columns, const std::string& name, const std::string& note, const std::vector<Score>& scores) {
  TableRow row{.name = name, .cells = {}, .note = note};
  Trial trial{.scores = scores};
  for (std::size_t i = 0; i < trial.scores.size(); ++i) trial.scores[i].calls = f.calls.at(i);       // a guided teacher calls its network twice a step
  for (const TrialColumn& c : columns) row.cells.push_back(c.is_score ? std::vector<double>{c.value(f, trial)} : std::vector<double>());
  return row;
}

// A cell of trials.csv.
std::string number(double x) { return std::isfinite(x) ? fmt::format("{:.6g}", x) : ""; }

}  // namespace

std::vector<const Trial*> trials_of(const Findings& f, std::size_t variant) {
  std::vector<const Trial*> out;
  for (const Trial& t : f.trials)
    if (t.variant == variant) out.push_back(&t);
  return out;
}

std::vector<std::size_t> training_order(const Findings& f) {
  std::vector<std::size_t> order(f.trials.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto seconds = [&](std::size_t i) { return f.trials[i].cost->seconds * static_cast<double>(f.variants[f.trials[i].variant].steps()); };
  const auto seed = [&](std::size_t i) { return i / f.variants.size(); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return seed(a) != seed(b) ? seed(a) < seed(b) : seconds(a) > seconds(b); });
  return order;
}

std::string text_if_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error) ? read_file(file) : "";
}

std::vector<MetricsFile> metrics_of(const std::filesystem::path& run, const Variant& v, const Trial& t) {
  if (t.folder.empty()) return {};
  const std::filesystem::path own = run / t.folder / "metrics.csv";
  if (!v.then) return {{own, 0}};
  return {{run / t.folder / first_part / "metrics.csv", 0}, {own, v.stage().steps(v.recipe)}};
}

Curve column_of(const std::vector<MetricsFile>& files, const std::string& column) {
  Curve out;
  for (const MetricsFile& file : files) {
    const std::string csv = text_if_there(file.path);
    const std::vector<std::string> known = csv_columns(csv);
    if (std::find(known.begin(), known.end(), column) == known.end()) continue;
    const Curve part = csv_curve(csv, "step", column);
    for (std::size_t i = 0; i < part.x.size(); ++i) out.x.push_back(part.x[i] + static_cast<double>(file.steps_before)), out.y.push_back(part.y[i]);
  }
  return out;
}

Course course_of(const std::vector<MetricsFile>& files) {
  Course out;
  if (const std::vector<double> norms = column_of(files, "grad_norm").y; !norms.empty()) out.median_norm = median(norms);
  if (const std::vector<double> largest = column_of(files, "grad_norm_max").y; !largest.empty()) out.largest_norm = *std::max_element(largest.begin(), largest.end());
  if (const std::vector<double> raw = column_of(files, "raw_mse").y; !raw.empty()) {
    const std::size_t last = std::max<std::size_t>(1, raw.size() / 10);
    out.raw_mse = statistics({raw.end() - static_cast<std::ptrdiff_t>(last), raw.end()}).mean;
  }
  return out;
}

Table table_of(const Findings& f) {
  Table table{.what = f.what, .columns = {}, .rows = {}};
  const auto columns = measured_columns(f);
  for (const TrialColumn& m : columns) table.columns.push_back(m.column);
  for (std::size_t i = 0; i < f.variants.size(); ++i) {
    const auto trials = trials_of(f, i);
    TableRow row{.name = f.variants[i].name, .cells = {}, .note = note(f.variants[i], trials, f.note)};
    for (const TrialColumn& m : columns) {
      row.cells.emplace_back();
      for (const Trial* t : trials) row.cells.back().push_back(m.value(f, *t));
    }
    table.rows.push_back(std::move(row));
  }
  if (!f.teacher.empty())
    table.rows.push_back(scored_row(f, columns, f.teacher.front().name,
                                    f.guided_teacher ? "the run's teacher, with Euler's method; guidance takes two calls a step" : "the run's teacher, with Euler's method",
                                    f.teacher));
  for (const Level& l : f.levels) table.rows.push_back(scored_row(f, columns, l.name, l.note, std::vector<Score>(f.calls.size(), l.score)));
  return table;
}

std::string trials_csv(const Findings& f) {
  std::vector<std::string> names{"variant", "trained_seed", "trained_steps", "folder", "outcome"};
  for (const CostColumn& c : cost_columns) names.emplace_back(c.key);
  for (const CourseColumn& c : course_columns) names.emplace_back(c.key);
  for (const TableColumn& c : f.own_columns) names.emplace_back(c.key);
  for (const ScoreColumn& c : score_columns()) names.emplace_back(c.name);
  std::string out = csv_line(names);
  for (const Trial& t : f.trials) {
    const Variant& v = f.variants[t.variant];
    std::vector<std::string> head{v.name, std::to_string(t.seed), std::to_string(v.steps()), t.folder, t.diverged ? "diverged" : "finished"};
    for (const CostColumn& c : cost_columns) head.push_back(number(cost_of(t, c.member)));
    for (const CourseColumn& c : course_columns) head.push_back(number(t.course.*c.member));
    for (std::size_t i = 0; i < f.own_columns.size(); ++i) head.push_back(number(i < t.own.size() ? t.own[i] : Score::none));
    for (const Score& s : t.scores.empty() ? std::vector<Score>(1) : t.scores) {
      std::vector<std::string> row = head;
      for (const ScoreColumn& c : score_columns()) row.push_back(score_cell(s, c));
      out += csv_line(row);
    }
  }
  return out;
}

}  // namespace fm
