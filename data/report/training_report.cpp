// Gathers a run's files in one page.
#include "data/report/training_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/clock.h"
#include "data/report/csv.h"
#include "data/report/metric_plot.h"
#include "data/report/numbers.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t shown_samples = 8;

// The sample grids of several steps beside each other, and the newest one large.
void add_samples(HtmlReport& report, const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".png") files.push_back(entry.path());
  if (files.empty()) return;
  std::sort(files.begin(), files.end());
  report.heading("Samples");
  report.png(read_file(files.back()), files.back().filename().string(), 2);
  if (files.size() < 2) return;
  report.subheading("Samples at several steps");
  const std::size_t count = std::min(files.size(), shown_samples);
  std::vector<PngFigure> strip;
  for (std::size_t k = 0; k < count; ++k) {
    const fs::path& file = files[k * (files.size() - 1) / (count - 1)];
    strip.push_back({read_file(file), file.stem().string()});
  }
  report.strip(strip);
}

void add_constants(HtmlReport& report, const std::vector<Curve>& constants) {
  std::vector<std::vector<std::string>> rows;
  for (const Curve& curve : constants) rows.push_back({metric_title(curve.name), curve.name, fmt::format("{:.6g}", curve.y.front())});
  if (!rows.empty()) report.table({"the same at every step", "column", "value"}, rows);
}

void add_curves(HtmlReport& report, const std::string& csv) {
  std::vector<Plot> plots;
  std::vector<Curve> constants;
  bool windows = false;
  for (const std::string& name : metrics_in_order(csv_columns(csv))) {
    const Curve curve = csv_curve(csv, "step", name);
    if (curve.y.size() > 1 && is_constant(curve)) {
      constants.push_back(curve);
      continue;
    }
    plots.push_back(metric_plot(name, {curve}));
    windows = windows || metric_window(curve.y.size()) > 1;
  }
  if (plots.empty() && constants.empty()) return;
  report.heading("Curves");
  if (windows) report.paragraph(curves_text(csv));
  report.plots(plots);
  add_constants(report, constants);
}

void add_sessions(HtmlReport& report, const std::vector<Session>& sessions, const std::string& csv) {
  if (sessions.empty()) return;
  report.heading("Sessions");
  if (const double seconds = seconds_of(sessions, last_time(csv)); std::isfinite(seconds))
    report.paragraph(fmt::format("All sessions together took {}.", duration_text(seconds)));
  add_session(report, sessions.back());
  constexpr std::size_t most = 20;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = sessions.size() - std::min(sessions.size(), most); i < sessions.size(); ++i)
    rows.push_back({std::to_string(i + 1), session_text(sessions[i]), machine_text(sessions[i])});
  report.table({"session", "course", "machine"}, rows);
}

}  // namespace

double last_time(const std::string& csv) {
  const std::vector<std::string> columns = csv_columns(csv);
  if (std::count(columns.begin(), columns.end(), "step") == 0 || std::count(columns.begin(), columns.end(), "time") == 0) return std::nan("");
  const Curve times = csv_curve(csv, "step", "time");
  return times.y.empty() ? std::nan("") : times.y.back();
}

std::string curves_text(const std::string& csv) {
  const std::vector<std::string> columns = csv_columns(csv);
  std::size_t rows = 0;
  for (const std::string& name : metrics_in_order(columns)) rows = std::max(rows, csv_curve(csv, "step", name).y.size());
  return fmt::format(
      "metrics.csv has {} rows, each with the numbers of one step. A line is the mean of the {} rows around each step; one band reaches from the "
      "lowest to the highest of these rows, the other from their 10 % to their 90 % quantile.",
      rows, metric_window(rows));
}

void add_session(HtmlReport& report, const Session& session) {
  if (const std::string machine = machine_text(session); !machine.empty()) report.paragraph("Trained " + machine + ".");
  const std::string seed = session.seed ? fmt::format("seed {}", *session.seed) : "";
  const std::string build = build_text(session);
  if (!build.empty() || !seed.empty()) report.paragraph(build + (build.empty() || seed.empty() ? "" : "; ") + seed + ".");
  if (!session.command_line.empty()) report.preformatted(command_text(session));
}

void write_training_report(const fs::path& folder, const std::string& title, const std::function<void(HtmlReport&)>& extra) {
  HtmlReport report(title, fmt::format("written {}", local_time_text()));
  const fs::path metrics = folder / "metrics.csv";
  const std::string csv = fs::exists(metrics) ? read_file(metrics) : "";
  if (fs::exists(folder.parent_path() / "report.html")) report.links("Part of a run: ", {{"report of the run, with all stages and scores", "../report.html"}});
  add_samples(report, folder / "samples");
  if (extra) extra(report);
  add_curves(report, csv);
  if (fs::exists(folder / "config.toml")) {
    report.heading("Config");
    report.preformatted(read_file(folder / "config.toml"), "config.toml");
  }
  add_sessions(report, read_sessions(folder / "run.json"), csv);
  write_atomically(folder / "report.html", report.html());
}

}  // namespace fm
