// The page of an ablation: the table, samples, plots of columns and trainings, and the weights behind each number.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "data/report/csv.h"
#include "data/report/svg_dots.h"
#include "data/report/svg_plot.h"
#include "flowmap/training/ablation/lambda.h"
#include "flowmap/training/ablation/latents.h"

namespace fm {
namespace {

// Plots, for each precision, the error of du/dt over the step of the finite difference, with the exact JVP's error as a horizontal line. Returns no plot
// if another setting is varied too, because each step then has several errors.
std::optional<Plot> error_plot(const Findings& f) {
  std::map<std::string, std::pair<Curve, double>> by_precision;             // errors of finite differences, and of the exact JVP
  std::set<std::tuple<std::string, std::string, double>> seen;
  for (std::size_t i = 0; i < f.variants.size(); ++i) {
    const DerivativeConfig& derivative = f.variants[i].recipe.mfd.objective.derivative;
    std::vector<double> errors;
    for (const Trial* t : trials_of(f, i)) errors.push_back(t->cost ? t->cost->derivative_error : Score::none);
    const double error = statistics(errors).mean;
    const std::string precision = f.variants[i].recipe.network.precision();
    if (!seen.insert({precision, derivative.kind, derivative.kind == "jvp" ? 0 : derivative.delta}).second) return std::nullopt;
    auto& [curve, level] = by_precision[precision];
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

// Returns the mean of a column over the variant's trials, at the steps that all of them have.
Curve mean_curve(const Findings& f, std::size_t variant, const std::filesystem::path& run, const std::string& column) {
  std::map<double, std::vector<double>> at;
  std::size_t n = 0;
  for (const Trial* t : trials_of(f, variant)) {
    const Curve one = column_of(metrics_of(run, f.variants[variant], *t), column);
    if (one.x.empty()) continue;
    for (std::size_t i = 0; i < one.x.size(); ++i) at[one.x[i]].push_back(one.y[i]);
    ++n;
  }
  Curve out{.name = f.variants[variant].name};
  for (const auto& [step, values] : at)
    if (values.size() == n) out.x.push_back(step), out.y.push_back(statistics(values).mean);
  return out;
}

// Divides a plot of many curves into several plots with the same range of y, so that colors and legends stay distinguishable.
std::vector<Plot> divided(const Plot& whole) {
  constexpr std::size_t together = 8;
  if (whole.curves.size() <= together) return {whole};
  double low = INFINITY, high = 0;
  for (const Curve& curve : whole.curves)
    for (const double y : curve.y)
      if (std::isfinite(y) && y > 0) low = std::min(low, y), high = std::max(high, y);
  const std::size_t count = (whole.curves.size() + together - 1) / together;
  std::vector<Plot> parts;
  for (std::size_t k = 0; k < count; ++k) {
    Plot part = whole;
    part.title = fmt::format("{} ({} of {})", whole.title, k + 1, count);
    if (low < high) part.y_low = low, part.y_high = high;
    part.curves.assign(whole.curves.begin() + static_cast<std::ptrdiff_t>(k * together),
                       whole.curves.begin() + static_cast<std::ptrdiff_t>(std::min(whole.curves.size(), (k + 1) * together)));
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<Plot> training_curves(const Findings& f, const std::filesystem::path& run) {
  std::vector<Plot> plots;
  for (const auto& [column, title] : {std::pair{"raw_mse", "Mean square before the metric"}, {"loss", "Loss"}, {"grad_norm", "Norm of the gradients"},
                                      {"grad_norm_max", "Largest norm of the gradients between lines of the log"}, {"derivative_ratio", "|du/dt| / |u|"}}) {
    Plot plot{.title = title, .x_label = "step", .y_label = column, .log_y = true};
    for (std::size_t i = 0; i < f.variants.size(); ++i)
      if (Curve curve = mean_curve(f, i, run, column); !curve.x.empty()) plot.curves.push_back(std::move(curve));
    if (!plot.curves.empty())
      for (Plot& part : divided(plot)) plots.push_back(std::move(part));
  }
  return plots;
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

// Adds a table of all trainings, with the weights behind each score.
void add_trials(HtmlReport& report, const Findings& f) {
  std::vector<std::vector<std::string>> rows;
  for (const Trial& t : f.trials)
    rows.push_back({f.variants[t.variant].name, std::to_string(t.seed), std::to_string(f.variants[t.variant].steps()), t.folder,
                    t.scores.empty() ? (t.diverged ? "diverged" : "-") : t.scores[0].checkpoint});
  report.table({"variant", "seed", "steps", "folder in the run", "weights"}, rows, "Each training; identity.txt in its folder lists what decided its weights");
}

// Adds the table of variants. A column sorts by its means.
void add_table(HtmlReport& report, const Findings& f, const Table& table) {
  std::vector<std::string> head{f.what};
  for (const TableColumn& c : table.columns) head.push_back(c.title);
  head.push_back("note");
  std::vector<std::vector<std::string>> rows, keys;
  for (const TableRow& row : table.rows) {
    rows.push_back({row.name}), keys.push_back({row.name});
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const double mean = statistics(row.cells[c]).mean;
      rows.back().push_back(cell_text(table.columns[c], row.cells[c]));
      keys.back().push_back(std::isfinite(mean) ? fmt::format("{:.9g}", mean) : "");
    }
    rows.back().push_back(row.note), keys.back().push_back(row.note);
  }
  report.sortable_table(head, rows, keys, "mean ± standard deviation over the seeds; a click on a heading sorts");
}

void add_samples(HtmlReport& report, const Shown& shown) {
  if (shown.samples.empty() && shown.curves.empty() && shown.grid.empty()) return;
  report.heading("Samples");
  report.paragraph("Samples of the first seed, in the first number of calls.");
  if (!shown.samples.empty()) report.figures(shown.samples);
  add_curves(report, shown.curves);
  if (!shown.grid.empty()) report.png(shown.grid, "real test images, the teacher in all its steps, and every variant, from the same noise");
  if (shown.trajectories.empty()) return;
  report.heading("The flow, and one call of each map");
  report.figures(shown.trajectories);
}

}  // namespace

std::string report_html(const Findings& f, const Table& table, const std::filesystem::path& run) {
  HtmlReport report("Ablation: " + f.what, f.subtitle);
  add_table(report, f, table);
  if (!f.busy.empty()) report.paragraph(f.busy);
  if (f.what == "derivative")
    if (const auto plot = error_plot(f)) report.plot(*plot);
  if (f.what == "lambda") report.plots(lambda_plots(f));
  if (f.what == "latents") report.plots(latents_plots(f));
  add_samples(report, f.shown);
  report.heading("Columns");
  report.dots(column_plots(table));
  if (const auto curves = training_curves(f, run); !curves.empty()) {
    report.heading("Training");
    report.paragraph("Each curve is the mean over the seeds of a variant.");
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
