#include "apps/ablate/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/report/csv.h"
#include "data/report/html.h"
#include "data/report/svg_dots.h"
#include "data/report/svg_plot.h"
#include "flowmap/metrics/sample_metrics.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

// A column and how a trial fills it.
struct TrialColumn {
  TableColumn column;
  std::function<double(const Findings&, const Trial&)> value;
  bool is_score = false;                 // of the scores alone, which the teacher has too
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

bool has_number(const Trial& t, std::size_t call, const ScoreColumn& c) {
  return call < t.scores.size() && std::isfinite(score_number(t.scores[call], c));
}

// "energy"; of columns that other tables have no room for the name, "map error".
std::string title_of(const ScoreColumn& c) {
  std::string title = *c.title ? c.title : c.name;
  std::replace(title.begin(), title.end(), '_', ' ');
  return title;
}

// Points of the plane, and metrics that are not for all samples. In the plane all are: one of its metrics is the other samples' one.
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
  if (f.calls.empty()) return out;
  out.push_back({{"steps", "steps", "{:.0f}"}, [](F all, T t) { return static_cast<double>(all.variants[t.variant].steps()); }});
  for (const CourseColumn& c : course_columns)
    if (any([&](T t) { return t.course.*c.member; })) out.push_back({{c.key, c.title, c.format, true}, [&c](F, T t) { return t.course.*c.member; }});
  for (std::size_t i = 0; i < f.calls.size(); ++i)
    for (const ScoreColumn& c : score_columns()) {
      if (!c.measured || std::string_view(c.name) == "psnr") continue;        // of reconstructions, not of flow maps
      if (is_of_some_samples(c, f.in_plane) && !any([&](T t) { return has_number(t, i, c) ? 1 : Score::none; })) continue;
      const std::string calls = fmt::format("{} call{}", f.calls[i], f.calls[i] == 1 ? "" : "s");
      out.push_back({{fmt::format("{}_{}", c.name, f.calls[i]), fmt::format("{}, {}{}", title_of(c), calls, *c.unit ? fmt::format(" ({})", c.unit) : ""),
                      fmt::format("{{:.{}f}}", c.decimals)},
                     [i, &c](F, T t) { return i < t.scores.size() ? c.factor * score_number(t.scores[i], c) : Score::none; },
                     true});
    }
  return out;
}

std::vector<const Trial*> trials_of(const Findings& f, std::size_t variant) {
  std::vector<const Trial*> out;
  for (const Trial& t : f.trials)
    if (t.variant == variant) out.push_back(&t);
  return out;
}

// Error of du/dt over the step of the finite difference, with the exact derivative's as a level, in each precision.
std::optional<Plot> error_plot(const Findings& f) {
  std::map<std::string, std::pair<Curve, double>> by_precision;             // differences, and the level
  for (std::size_t i = 0; i < f.variants.size(); ++i) {
    const DerivativeConfig& derivative = f.variants[i].recipe.mfd.objective.derivative;
    std::vector<double> errors;
    for (const Trial* t : trials_of(f, i)) errors.push_back(cost_of(*t, &StepCost::derivative_error));
    const double error = statistics(errors).mean;
    auto& [curve, level] = by_precision[f.variants[i].recipe.network.precision()];
    if (derivative.kind == "jvp") level = error;
    else curve.x.push_back(derivative.delta), curve.y.push_back(error);
  }
  std::vector<Curve> curves;
  for (auto& [precision, found] : by_precision) {
    Curve& fd = found.first;
    fd.name = "finite difference, " + precision, fd.markers = true;
    curves.push_back(fd);
    curves.push_back({.name = "exact JVP, " + precision, .x = fd.x, .y = std::vector<double>(fd.x.size(), found.second), .dashed = true});
  }
  return Plot{.title = "Error of du/dt against f64",
              .x_label = "step of the finite difference",
              .y_label = "relative error",
              .curves = curves,
              .log_x = true,
              .log_y = true};
}

std::string text_if_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error) ? read_file(file) : "";
}

// The mean over the variant's trials at the steps that all of them have.
Curve mean_curve(const Findings& f, std::size_t variant, const std::filesystem::path& run, const std::string& column) {
  std::map<double, std::vector<double>> at;
  std::size_t n = 0;
  for (const Trial* t : trials_of(f, variant)) {
    const std::string csv = text_if_there(run / t->folder / "metrics.csv");
    const auto known = csv_columns(csv);
    if (t->folder.empty() || std::find(known.begin(), known.end(), column) == known.end()) continue;
    const Curve one = csv_curve(csv, "step", column);
    for (std::size_t i = 0; i < one.x.size(); ++i) at[one.x[i]].push_back(one.y[i]);
    ++n;
  }
  Curve out{.name = f.variants[variant].name};
  for (const auto& [step, values] : at)
    if (values.size() == n) out.x.push_back(step), out.y.push_back(statistics(values).mean);
  return out;
}

std::vector<Plot> training_curves(const Findings& f, const std::filesystem::path& run) {
  std::vector<Plot> plots;
  for (const auto& [column, title] : {std::pair{"raw_mse", "Mean square before the metric"}, {"loss", "Loss"}, {"grad_norm", "Norm of the gradients"},
                                      {"derivative_ratio", "|du/dt| / |u|"}}) {
    Plot plot{.title = title, .x_label = "step", .y_label = column, .log_y = true};
    for (std::size_t i = 0; i < f.variants.size(); ++i)
      if (Curve curve = mean_curve(f, i, run, column); !curve.x.empty()) plot.curves.push_back(std::move(curve));
    if (!plot.curves.empty()) plots.push_back(std::move(plot));
  }
  return plots;
}

// What sets a row apart: a sampler of its own, and trainings that diverged.
std::string note(const Variant& variant, const std::vector<const Trial*>& trials) {
  const auto n = std::count_if(trials.begin(), trials.end(), [](const Trial* t) { return t->diverged; });
  const std::string sampler = sampler_text(variant), diverged = n == 0 ? "" : trials.size() == 1 ? "diverged" : fmt::format("{} of {} diverged", n, trials.size());
  return diverged + (diverged.empty() || sampler.empty() ? "" : "; ") + sampler;
}

// In the scores' columns; the teacher was trained once, so there is no deviation.
TableRow teacher_row(const Findings& f, const std::vector<TrialColumn>& columns) {
  TableRow row{.name = f.teacher.front().name, .cells = {}, .note = "the run's, by Euler's method"};
  const Trial trial{.scores = f.teacher};
  for (const TrialColumn& c : columns) row.cells.push_back(c.is_score ? std::vector<double>{c.value(f, trial)} : std::vector<double>());
  return row;
}

std::vector<DotPlot> column_plots(const Table& table) {
  std::vector<DotPlot> plots;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    DotPlot plot{.title = table.columns[c].title, .x_label = table.columns[c].title, .log_x = table.columns[c].log};
    for (const TableRow& row : table.rows) plot.rows.push_back({row.name, row.cells[c]});
    plots.push_back(std::move(plot));
  }
  return plots;
}

// Which weights each number is of.
void add_trials(HtmlReport& report, const Findings& f) {
  std::vector<std::vector<std::string>> rows;
  for (const Trial& t : f.trials)
    rows.push_back({f.variants[t.variant].name, std::to_string(t.seed), std::to_string(f.variants[t.variant].steps()), t.folder,
                    t.scores.empty() ? (t.diverged ? "diverged" : "-") : t.scores[0].checkpoint});
  report.table({"variant", "seed", "steps", "folder in the run", "weights"}, rows, "Each training; identity.txt in its folder lists what decided its weights");
}

// A cell of trials.csv.
std::string number(double x) { return std::isfinite(x) ? fmt::format("{:.6g}", x) : ""; }

}  // namespace

Course course_of(const std::filesystem::path& metrics_csv) {
  const std::string csv = text_if_there(metrics_csv);
  const std::vector<std::string> known = csv_columns(csv);
  const auto values = [&](const char* column) {
    return std::find(known.begin(), known.end(), column) == known.end() ? std::vector<double>() : csv_curve(csv, "step", column).y;
  };
  Course out;
  if (const std::vector<double> norms = values("grad_norm"); !norms.empty()) out.median_norm = median(norms);
  if (const std::vector<double> largest = values("grad_norm_max"); !largest.empty()) out.largest_norm = *std::max_element(largest.begin(), largest.end());
  if (const std::vector<double> raw = values("raw_mse"); !raw.empty()) {
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
    TableRow row{.name = f.variants[i].name, .cells = {}, .note = note(f.variants[i], trials)};
    for (const TrialColumn& m : columns) {
      row.cells.emplace_back();
      for (const Trial* t : trials) row.cells.back().push_back(m.value(f, *t));
    }
    table.rows.push_back(std::move(row));
  }
  if (!f.teacher.empty()) table.rows.push_back(teacher_row(f, columns));
  return table;
}

std::string trials_csv(const Findings& f) {
  std::vector<std::string> names{"variant", "trained_seed", "trained_steps", "folder", "outcome"};
  for (const CostColumn& c : cost_columns) names.emplace_back(c.key);
  for (const CourseColumn& c : course_columns) names.emplace_back(c.key);
  for (const ScoreColumn& c : score_columns()) names.emplace_back(c.name);
  std::string out = csv_line(names);
  for (const Trial& t : f.trials) {
    const Variant& v = f.variants[t.variant];
    std::vector<std::string> head{v.name, std::to_string(t.seed), std::to_string(v.steps()), t.folder, t.diverged ? "diverged" : "finished"};
    for (const CostColumn& c : cost_columns) head.push_back(number(cost_of(t, c.member)));
    for (const CourseColumn& c : course_columns) head.push_back(number(t.course.*c.member));
    for (const Score& s : t.scores.empty() ? std::vector<Score>(1) : t.scores) {
      std::vector<std::string> row = head;
      for (const ScoreColumn& c : score_columns()) row.push_back(score_cell(s, c));
      out += csv_line(row);
    }
  }
  return out;
}

std::string report_html(const Findings& f, const Table& table, const std::filesystem::path& run) {
  HtmlReport report("Ablation: " + f.what, f.subtitle);
  std::vector<std::string> head{f.what};
  for (const TableColumn& c : table.columns) head.push_back(c.title);
  head.push_back("note");
  std::vector<std::vector<std::string>> rows;
  for (const TableRow& row : table.rows) {
    rows.push_back({row.name});
    for (std::size_t c = 0; c < table.columns.size(); ++c) rows.back().push_back(cell_text(table.columns[c], row.cells[c]));
    rows.back().push_back(row.note);
  }
  report.table(head, rows, "mean ± standard deviation over the seeds");
  if (!f.busy.empty()) report.paragraph(f.busy);
  if (f.what == "derivative")
    if (const auto plot = error_plot(f)) report.plot(*plot);
  report.heading("Columns");
  report.dots(column_plots(table));
  if (const auto curves = training_curves(f, run); !curves.empty()) {
    report.heading("Training");
    report.paragraph("The mean over the seeds of each variant.");
    report.plots(curves);
  }
  report.heading("Trainings");
  add_trials(report, f);
  std::string lines;
  for (const Variant& v : f.variants) lines += describe(v) + "\n";
  report.preformatted(lines);
  return report.html();
}

}  // namespace fm
