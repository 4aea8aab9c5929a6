// The scores, and the page with scores and plots.
#include "flowmap/training/plane.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "flowmap/draws.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/path.h"
#include "flowmap/training/plane_pictures.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::int64_t shown_paths = 20;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// The part of a run that all scores and plots share.
struct Setting {
  std::int64_t rows;                     // samples of each generator
  Tensor noise, test, wanted;            // (rows, 2); wanted: the exact samples, undefined if unknown
  Labels labels;
};

void refuse_no_points(const Tensor& x, std::int64_t rows, const std::string& what) {
  if (x.defined() && x.rank() == 2 && x.dim(1) == 2 && (rows < 0 || x.dim(0) == rows)) return;
  throw ShapeError(fmt::format("{}: {}; they must be points of the plane, ({}, 2)", what, x.defined() ? "shape " + to_string(x.shape()) : "undefined",
                               rows < 0 ? "n" : std::to_string(rows)));
}

// Returns the run in its latent space: test points and distribution are scaled as the latent space scales samples.
PlaneRun in_latents(PlaneRun run) {
  const LatentStats& stats = run.space.statistics();
  if (!stats.defined()) return run;
  run.test = run.space.encode(run.test.to(stats.variance.device()));
  if (!run.exact) return run;
  const auto wide = [](const Tensor& t) { return t.defined() ? t.to(Device{}).to(DType::f64) : t; };
  const LatentStats scale{wide(stats.mean), wide(stats.variance), stats.floor}, about_zero{{}, scale.variance, stats.floor};
  for (GaussianMixture::Component& c : run.exact->components) {
    c.mean = scale.normalise(wide(c.mean));
    c.deviation = about_zero.normalise(wide(c.deviation));
  }
  return run;
}

Setting setting_of(const PlaneRun& run) {
  refuse_no_points(run.test, -1, "test points");
  if (run.labels.defined() && run.labels.shape() != Shape{run.test.dim(0)})
    throw ShapeError(fmt::format("labels have the shape {}; each of the {} test points needs one label", to_string(run.labels.shape()), run.test.dim(0)));
  Setting s;
  s.rows = std::min(run.samples, run.test.dim(0));
  if (s.rows < 2) throw ConfigError(fmt::format("{} samples and {} test points: an energy distance needs 2 of each", run.samples, run.test.dim(0)));
  s.noise = Draws{run.seed, 0, consecutive(0, s.rows)}.normal({2}, DType::f32, Purpose::sampling);
  s.test = first_rows(run.test, s.rows);
  if (run.labels.defined()) s.labels = first_rows(run.labels, s.rows).to(s.noise.device());
  if (run.exact) s.wanted = run.space.decode(ExactFlow(*in_latents(run).exact).map(s.noise, s.labels));
  return s;
}

std::int64_t rows_not_finite(const Tensor& points) {
  std::int64_t count = 0;
  const std::vector<double> x = points.to_vector<double>();
  for (std::size_t i = 0; i < x.size(); i += 2) count += std::isfinite(x[i]) && std::isfinite(x[i + 1]) ? 0 : 1;
  return count;
}

PlaneScore score_of(const std::string& name, int calls, const Tensor& samples, const Setting& s, bool follows_flow) {
  const std::int64_t bad = rows_not_finite(samples);
  const bool known = s.wanted.defined() && follows_flow;
  PlaneScore score{name, calls, {{"energy_distance", bad > 0 ? nan : energy_distance(samples, s.test)}}};
  if (known) score.values.push_back({"map_error", bad > 0 ? nan : mean_square_distance(samples, s.wanted)});
  if (bad > 0) score.values.push_back({"not_finite", static_cast<double>(bad)});
  return score;
}

Tensor samples_of(const PlaneRun& run, const PlaneGenerator& generator, const Setting& s) {
  if (!generator.generate) throw ConfigError("generator '" + generator.name + "' has no function: set PlaneGenerator::generate");
  const PauseTape pause;
  const Tensor samples = generator.generate(s.noise, s.labels);
  refuse_no_points(samples, s.rows, "samples of '" + generator.name + "'");
  return run.space.decode(samples);
}

// Adds rows to compare the generators' scores with: the exact flow, other test points, noise itself.
void add_references(std::vector<PlaneScore>& scores, const PlaneRun& run, const Setting& s) {
  if (s.wanted.defined()) scores.push_back(score_of("exact flow", 0, s.wanted, s, true));
  if (run.test.dim(0) >= 2 * s.rows) scores.push_back(score_of("other test points", 0, run.test.slice(0, s.rows, 2 * s.rows), s, false));
  scores.push_back(score_of("noise itself", 0, run.space.decode(s.noise), s, true));
}

std::string about(const PlaneRun& run, const Setting& s) {
  std::string text = fmt::format("Each generator makes {} samples from the same noise (seed {}){}. They are compared with {} test points.", s.rows, run.seed,
                                 s.labels.defined() ? ", with the labels of the test points" : "", s.rows);
  if (s.wanted.defined()) text += " The map error is the mean squared distance between a sample and the end of the exact flow from the same noise.";
  return text;
}

bool has(const PlaneScore& score, std::string_view name) {
  return std::any_of(score.values.begin(), score.values.end(), [&](const Metric& m) { return m.name == name; });
}

// Four decimals, because the energy distance of two sets of one distribution scatters by 0.0004 around 0.
std::string cell(const PlaneScore& score, std::string_view name) {
  if (!has(score, name)) return "-";
  const double value = score.value(name);
  if (!std::isfinite(value)) return fmt::format("{:.0f} samples not finite", score.value("not_finite"));
  const std::string text = fmt::format("{:.4f}", value);
  return text == "-0.0000" ? "0.0000" : text;
}

void add_scores(HtmlReport& page, const PlaneReport& report) {
  const bool errors = std::any_of(report.scores.begin(), report.scores.end(), [](const PlaneScore& score) { return has(score, "map_error"); });
  std::vector<std::string> head{"generator", "calls", "energy distance"};
  if (errors) head.push_back("map error");
  std::vector<std::vector<std::string>> rows;
  for (const PlaneScore& score : report.scores) {
    rows.push_back({score.name, score.calls > 0 ? std::to_string(score.calls) : "-", cell(score, "energy_distance")});
    if (errors) rows.back().push_back(cell(score, "map_error"));
  }
  page.table(head, rows);
  page.paragraph(report.about +
                 " Rows without calls are for comparison. The energy distance is 0 for equal distributions. Between two sets of points of the data it is "
                 "0 up to chance, and may be negative.");
}

void add_figures(HtmlReport& page, const char* heading, const std::vector<Figure>& figures) {
  if (figures.empty()) return;
  page.subheading(heading);
  page.figures(figures);
}

void add_report(HtmlReport& page, const PlaneReport& report) {
  add_scores(page, report);
  add_figures(page, "Samples", report.samples);
  add_figures(page, "The flow, and one call of the map", report.trajectories);
  add_figures(page, "Where one call is wrong", report.errors);
  add_figures(page, "The velocity field", report.fields);
}

}  // namespace

double PlaneScore::value(std::string_view wanted) const {
  for (const Metric& m : values)
    if (m.name == wanted) return m.value;
  return nan;
}

std::optional<GaussianMixture> known_mixture(std::string_view source) {
  if (source == "points:8gaussians") return eight_gaussians();
  return std::nullopt;
}

std::vector<PlaneScore> plane_scores(const PlaneRun& run) {
  const Setting s = setting_of(run);
  std::vector<PlaneScore> scores;
  for (const PlaneGenerator& g : run.generators) scores.push_back(score_of(g.name, g.calls, samples_of(run, g, s), s, g.follows_flow));
  add_references(scores, run, s);
  return scores;
}

PlaneReport plane_report(const PlaneRun& run, const PlanePictures& shown) {
  const Setting s = setting_of(run);
  PlaneReport report;
  report.about = about(run, s);
  for (const PlaneGenerator& g : run.generators) {
    const Tensor samples = samples_of(run, g, s);
    report.scores.push_back(score_of(g.name, g.calls, samples, s, g.follows_flow));
    const std::int64_t points = shown.points > 0 ? std::min(shown.points, s.rows) : s.rows;
    report.samples.push_back(sample_figure(first_rows(s.test, points), first_rows(samples, points), g, report.scores.back()));
  }
  add_references(report.scores, run, s);
  const std::int64_t paths = std::min(shown_paths, s.rows);
  PlaneRun flows = in_latents(run);
  if (shown.points > 0) flows.test = first_rows(flows.test, std::min(shown.points, flows.test.dim(0)));
  Tensor ends;
  for (const PlaneMap& map : flows.maps) {
    const bool flow_known = flows.teacher || flows.exact || trains(map.jumps, 0.5, 0.5);
    if (flow_known) report.trajectories.push_back(trajectory_figure(flows, map, first_rows(s.noise, paths), first_rows(s.labels, paths)));
    if (flows.exact && shown.errors && map.follows_flow) {
      if (!ends.defined()) ends = exact_ends(flows);
      report.errors.push_back(error_figure(flows, map, ends));
    }
    if (!shown.fields) continue;
    for (const auto& [from, to] : {std::pair{0.0, 1.0}, {0.5, 1.0}, {0.0, 0.5}, {0.5, 0.5}})
      if (trains(map.jumps, from, to)) report.fields.push_back(field_figure(flows, map, from, to));
  }
  return report;
}

std::string plane_section(const PlaneReport& report) {
  HtmlReport section("");
  section.heading("In the plane");
  add_report(section, report);
  return section.section();
}

std::string plane_page(std::string_view title, const PlaneReport& report) {
  HtmlReport page(title);
  add_report(page, report);
  return page.html();
}

}  // namespace fm
