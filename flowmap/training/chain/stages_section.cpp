#include "flowmap/training/chain/stages_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/csv.h"
#include "data/report/metric_plot.h"
#include "data/report/numbers.h"
#include "data/report/statistics.h"
#include "data/report/training_report.h"
#include "flowmap/training/chain/stages.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

struct TrainedStage {
  std::string name, csv;
  std::vector<std::string> columns;      // the most informative first
  std::vector<Session> sessions;

  bool has(const std::string& column) const { return std::find(columns.begin(), columns.end(), column) != columns.end(); }
  Curve curve(const std::string& column) const { return has(column) ? csv_curve(csv, "step", column) : Curve{.name = column}; }
  std::string telling() const { return columns.empty() ? "" : columns.front(); }
};

std::vector<TrainedStage> trained_stages(const fs::path& root) {
  std::vector<TrainedStage> out;
  for (const StageSpec& stage : stage_table()) {
    const fs::path folder = root / stage.name;
    if (!fs::exists(folder / "metrics.csv")) continue;
    std::string csv = read_file(folder / "metrics.csv");
    std::vector<std::string> columns = metrics_in_order(csv_columns(csv));
    out.push_back({stage.name, std::move(csv), std::move(columns), read_sessions(folder / "run.json")});
  }
  return out;
}

std::string last_of(const Curve& curve, const char* unit = "") { return curve.y.empty() ? "-" : fmt::format("{:.4g}{}", curve.y.back(), unit); }

// The mean of the last tenth of the rows, because single steps are noisy.
std::string end_of(const Curve& curve) {
  if (curve.y.empty()) return "-";
  const std::size_t last = std::max<std::size_t>(1, curve.y.size() / 10);
  return fmt::format("{:.4g}", statistics({curve.y.end() - static_cast<std::ptrdiff_t>(last), curve.y.end()}).mean);
}

void add_table_of_stages(HtmlReport& report, const std::vector<TrainedStage>& stages) {
  std::vector<std::vector<std::string>> rows;
  double all = 0;
  for (const TrainedStage& s : stages) {
    const double seconds = seconds_of(s.sessions, last_time(s.csv));
    if (std::isfinite(seconds)) all += seconds;
    const Curve telling = s.curve(s.telling());
    rows.push_back({s.name, telling.x.empty() ? "-" : fmt::format("{:.0f}", telling.x.back()), std::isfinite(seconds) ? duration_text(seconds) : "-", s.telling(),
                    end_of(telling), last_of(s.curve("samples_per_second")), last_of(s.curve("memory_mib"))});
  }
  report.table({"stage", "steps", "time", "measure", "at its end", "samples/s", "memory (MiB)"}, rows,
               fmt::format("All stages together took {}. At its end: the mean of the last tenth of the rows of metrics.csv", duration_text(all)));
}

void add_telling_curves(HtmlReport& report, const std::vector<TrainedStage>& stages) {
  std::vector<Plot> plots;
  for (const TrainedStage& s : stages)
    for (const std::string& column : {s.telling(), std::string("derivative_ratio"), std::string("grad_norm")}) {
      const Curve curve = s.curve(column);
      if (curve.y.empty() || (column != s.telling() && is_constant(curve))) continue;
      plots.push_back(metric_plot(column, {curve}));
      plots.back().title = s.name + ": " + plots.back().title;
    }
  report.plots(plots);
}

}  // namespace

void add_stages(HtmlReport& report, const fs::path& root) {
  const std::vector<TrainedStage> stages = trained_stages(root);
  if (stages.empty()) return;
  report.heading("Training");
  std::vector<Link> links;
  for (const TrainedStage& s : stages)
    if (fs::exists(root / s.name / "report.html")) links.push_back({s.name, s.name + "/report.html"});
  report.links("All curves, samples and sessions of a stage: ", links);
  add_table_of_stages(report, stages);
  report.paragraph(
      "With an adaptive metric the loss stays near 1, whatever happens; raw_mse is the mean square error before the metric. derivative_ratio is |du/dt| / |u|: when it "
      "grows, training may diverge. Long curves are means of the rows around each step. One band reaches from the lowest to the highest of these rows, the other from their "
      "10 % to their 90 % quantile.");
  add_telling_curves(report, stages);
  if (const auto& sessions = stages.back().sessions; !sessions.empty()) {
    report.heading("Machine and command line");
    add_session(report, sessions.back());
  }
}

void renew_stage_reports(const fs::path& root) {
  for (const StageSpec& stage : stage_table())
    if (fs::is_regular_file(root / stage.name / "report.html")) write_training_report(root / stage.name, stage.name);
}

}  // namespace fm
