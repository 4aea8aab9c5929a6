// Gathers a run's files in one page.
#include "data/report/training_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/report/clock.h"
#include "data/report/csv.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

bool all_positive(const Curve& curve) {
  return std::all_of(curve.y.begin(), curve.y.end(), [](double y) { return y > 0; });
}

// One plot per metric. A long noisy curve gets its mean drawn over it; a positive one that spans decades a log axis.
Plot metric_plot(const std::string& csv, const std::string& name) {
  Curve curve = csv_curve(csv, "step", name);
  Plot plot{.title = name, .x_label = "step", .y_label = "", .curves = {}};
  if (curve.y.empty()) return plot;
  const auto [low, high] = std::minmax_element(curve.y.begin(), curve.y.end());
  plot.log_y = all_positive(curve) && *high > 30 * *low;
  curve.markers = curve.y.size() <= 30;
  plot.curves.push_back(curve);
  if (const double span = double(curve.y.size()) / 30; span >= 4)
    plot.curves.push_back(smoothed(curve, span, fmt::format("mean of {:.0f}", span)));
  return plot;
}

void add_curves(HtmlReport& report, const fs::path& path) {
  if (!fs::exists(path)) return;
  const std::string csv = read_file(path);
  std::vector<Plot> plots;
  for (const std::string& name : csv_columns(csv))
    if (name != "step" && name != "time" && !name.empty()) plots.push_back(metric_plot(csv, name));
  if (plots.empty()) return;
  report.heading("Curves");
  report.plots(plots);
}

void add_newest_sample(HtmlReport& report, const fs::path& folder) {
  fs::path newest;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".png" && entry.path() > newest) newest = entry.path();
  if (newest.empty()) return;
  report.heading("Samples");
  report.png(read_file(newest), newest.filename().string(), 2);
}

void add_machine(HtmlReport& report, const fs::path& path) {
  if (!fs::exists(path)) return;
  const auto json = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  if (!json.is_object() || !json.contains("sessions") || json["sessions"].empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : json["sessions"].back().items())
    rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  report.heading("This session");
  report.table({}, rows, fmt::format("session {} of this run", json["sessions"].size()));
}

}  // namespace

void write_training_report(const fs::path& folder, const std::string& title, const std::function<void(HtmlReport&)>& extra) {
  HtmlReport report(title, fmt::format("written {}", local_time_text()));
  add_newest_sample(report, folder / "samples");
  if (extra) extra(report);
  add_curves(report, folder / "metrics.csv");
  if (fs::exists(folder / "config.toml")) {
    report.heading("Config");
    report.preformatted(read_file(folder / "config.toml"), "config.toml");
  }
  add_machine(report, folder / "run.json");
  write_atomically(folder / "report.html", report.html());
}

}  // namespace fm
