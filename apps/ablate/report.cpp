#include "apps/ablate/report.h"

#include "data/report/html.h"
#include "data/report/svg_plot.h"

namespace fm {
namespace {

// Error of du/dt over the step of the finite difference, with the exact derivative's as a level, in each precision.
Plot error_plot(const std::vector<Finding>& findings) {
  std::vector<Curve> curves;
  for (const Finding& f : findings) {
    const DerivativeConfig& derivative = f.variant.config.objective.derivative;
    if (derivative.kind == "jvp") {                        // comes first in its precision
      curves.push_back({.name = "finite difference, " + f.variant.precision, .markers = true});
      curves.push_back({.name = "exact JVP, " + f.variant.precision, .dashed = true});
      continue;
    }
    Curve &fd = *(curves.end() - 2), &jvp = curves.back();
    fd.x.push_back(derivative.delta), jvp.x.push_back(derivative.delta);
    fd.y.push_back(f.cost->derivative_error);
  }
  std::size_t i = 0;
  for (const Finding& f : findings)
    if (f.variant.config.objective.derivative.kind == "jvp") {
      Curve& jvp = curves[2 * i++ + 1];
      jvp.y.assign(jvp.x.size(), f.cost->derivative_error);
    }
  return {.title = "Error of du/dt against f64",
          .x_label = "step of the finite difference",
          .y_label = "relative error",
          .curves = curves,
          .log_x = true,
          .log_y = true};
}

}  // namespace

Table table_of(const std::string& what, const std::vector<Finding>& findings, const std::vector<int>& calls) {
  Table table{.head = {what, "du/dt error", "target error", "s/step", "peak MiB"}, .rows = {}};
  for (int n : calls) table.head.push_back(fmt::format("Frechet {} call{}", n, n == 1 ? "" : "s"));
  for (const Finding& f : findings) {
    std::vector<std::string> row{f.variant.name, "-", "-", "-", "-"};
    if (f.cost)
      row = {f.variant.name, fmt::format("{:.2e}", f.cost->derivative_error), fmt::format("{:.2e}", f.cost->target_error), fmt::format("{:.3f}", f.cost->seconds),
             fmt::format("{:.1f}", f.cost->peak_mib)};
    for (std::size_t i = 0; i < calls.size(); ++i) row.push_back(f.diverged ? "diverged" : fmt::format("{:.3f}", f.scores.at(i).frechet));
    table.rows.push_back(row);
  }
  return table;
}

std::string terminal_text(const Table& table) {
  std::string out;
  const auto add = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) out += i == 0 ? fmt::format("{:<14}", cells[i]) : fmt::format("{:>16}", cells[i]);
    out += '\n';
  };
  add(table.head);
  for (const auto& row : table.rows) add(row);
  return out;
}

std::string csv_text(const Table& table) {
  std::string out = fmt::format("{}\n", fmt::join(table.head, ","));
  for (const auto& row : table.rows) out += fmt::format("{}\n", fmt::join(row, ","));
  return out;
}

std::string report_html(const std::string& subtitle, const std::string& what, const std::vector<Finding>& findings, const Table& table) {
  HtmlReport report("Ablation: " + what, subtitle);
  report.table(table.head, table.rows, "");
  if (what == "derivative") report.plot(error_plot(findings));
  std::string lines;
  for (const Finding& f : findings) lines += describe(f.variant) + "\n";
  report.preformatted(lines);
  return report.html();
}

}  // namespace fm
