#include "flowmap/training/picture_sets/set_scores.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "data/grid.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "data/report/html.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

constexpr int shown_columns = 8, shown_rows = 4, shown_side = 512;
constexpr std::int64_t shown_images = shown_columns * shown_rows;

std::string number_or_empty(double x) { return std::isnan(x) ? "" : fmt::format("{}", x); }
std::string count_or_empty(std::int64_t n) { return n == 0 ? "" : fmt::format("{}", n); }

const std::vector<std::string>& columns() {
  static const std::vector<std::string> names{"metric", "value", "error", "settings", "samples", "samples_count", "samples_id", "reference", "reference_count", "reference_id", "features", "date"};
  return names;
}

std::vector<std::string> cells(const SetScore& s) {
  return {s.number.name, number_or_empty(s.number.value), number_or_empty(s.number.error), s.number.settings, s.samples, count_or_empty(s.samples_count), s.samples_id,
          s.reference, count_or_empty(s.reference_count), s.reference_id, s.features, s.date};
}

std::string with_error(const SetNumber& n) { return std::isnan(n.error) ? fmt::format("{:.6g}", n.value) : fmt::format("{:.6g} ± {:.2g}", n.value, n.error); }

std::string compared_with(const SetScore& s) {
  if (s.reference.empty()) return "nothing";
  return s.reference_count == 0 ? "an unknown number of images" : fmt::format("{} images", s.reference_count);
}

void show_images(HtmlReport& page, const PictureSet& set, const std::string& title) {
  std::vector<Image> images;
  for (std::int64_t i = 0; i < std::min(shown_images, set.count()); ++i) images.push_back(set.image(i));
  const int scale = std::max(1, shown_side / (shown_columns * std::max(1, images.front().width))), columns = fitting_columns(shown_columns, images.front().width, scale);
  images.resize(std::min(images.size(), static_cast<std::size_t>(shown_rows * columns)));
  const std::vector<std::uint8_t> png = encode_png(make_grid(images, {.columns = columns, .scale = scale}));
  page.subheading(title);
  page.png({reinterpret_cast<const char*>(png.data()), png.size()}, fmt::format("the first {} of {}", images.size(), set.count()));
}

Plot plot_of(const FrechetLimit& limit) {
  Curve measured{.name = "random subsets", .x = {}, .y = {}, .markers = true}, line{.name = "line", .x = {0}, .y = {limit.value}, .dashed = true};
  for (const FrechetLimit::Point& p : limit.points) {
    const double inverse = 1000 / static_cast<double>(p.count);
    measured.x.push_back(inverse), measured.y.push_back(p.distance);
    line.x.push_back(inverse), line.y.push_back(limit.value + limit.slope / static_cast<double>(p.count));
  }
  return {.title = "Frechet distance against the number of samples", .x_label = "1000 / number of samples", .y_label = "Frechet distance", .curves = {measured, line}};
}

}  // namespace

void add_set_scores(const std::filesystem::path& folder, const std::vector<SetScore>& scores) {
  const std::filesystem::path file = folder / set_scores_file;
  std::string text = std::filesystem::exists(file) ? read_file(file) : csv_line(columns());       // throws if that is unknown: a table must not be replaced
  if (!text.ends_with('\n')) text += '\n';                                                        // an editor may have left it out
  const CsvRows rows = parse_csv(text);
  if (rows.empty() || rows.front() != columns())
    throw FileError(fmt::format("{}: not a table of this program's columns ({}): move it away, or give another --out", file.string(), fmt::join(columns(), ",")));
  for (const SetScore& s : scores) text += csv_line(cells(s));
  write_atomically(file, text);
}

std::string set_scores_text(const std::vector<SetScore>& scores) {
  std::string out;
  for (const SetScore& s : scores) out += fmt::format("{:<24} {:<26} {}\n", s.number.name, with_error(s.number), s.number.settings);
  return out;
}

namespace {

// Published Inception Scores are of 50,000 samples.
constexpr std::int64_t published_samples = 50000;

// Published precision and recall are of 10,000 real images, and of 50,000 samples (guided-diffusion) or 10,000 (dgm-eval, and its density and coverage).
constexpr std::int64_t published_neighbors = 10000;

// `of`: the file.
void add_if_unnamed(std::vector<std::string>& out, const FeatureStatistics& s, const std::string& of) {
  if (!s.features) return;
  if (s.network.empty() || s.convention.empty())
    out.push_back(fmt::format("{} names no network or preparation for its statistics: check that the other set has the same", of));
  if (!s.count) out.push_back(fmt::format("{} has no number of images: the bias of its distances is unknown", of));
}

std::int64_t count_of(const SetReference& r) { return r.statistics.features ? r.statistics.count.value_or(0) : r.images ? r.images->count : 0; }

}  // namespace

std::vector<std::string> limits_of_counts(std::int64_t samples, std::int64_t real, std::int64_t width) {
  std::vector<std::string> out;
  if (samples > 0 && samples < width)
    out.push_back(fmt::format("{} samples: Frechet distances of fewer than {} are far too large and depend on the number; compare only with distances of equally many samples, or use kid_all", samples,
                              width));
  if (real > 0 && real < width) out.push_back(fmt::format("{} images of the reference: Frechet distances to fewer than {} are far too large", real, width));
  return out;
}

std::vector<std::string> limits_of(const std::vector<std::string>& metrics, const SeenSet& samples, const SetReference& reference) {
  std::vector<std::string> out;
  const auto any = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return std::find(metrics.begin(), metrics.end(), name) != metrics.end(); });
  };
  if (any({"fid", "sfid", "fid_infinity"})) {
    out = limits_of_counts(samples.count, count_of(reference), samples.vectors.dim(1));
    add_if_unnamed(out, reference.statistics, reference.name);
  }
  if (any({"is", "is_adm"}) && samples.count < published_samples)
    out.push_back(fmt::format("Inception Score of {} samples: published ones are of {}, and smaller splits give lower scores", samples.count, published_samples));
  if (const auto& images = reference.images; images && any({"precision_recall", "density_coverage"}) &&
                                             (images->count != published_neighbors || (samples.count != published_samples && samples.count != published_neighbors)))
    out.push_back(fmt::format("{} samples and {} images of the reference: precision, recall, density and coverage depend on both numbers; published ones are of {} images of the reference, with {} samples (guided-diffusion) or {} (dgm-eval)",
                              samples.count, images->count, published_neighbors, published_samples, published_neighbors));
  if (const auto& images = reference.images; images && (images->height != samples.height || images->width != samples.width))
    out.push_back(fmt::format("samples are {}x{} and the reference's images {}x{} (height x width): published numbers compare equal sizes", samples.height, samples.width, images->height, images->width));
  return out;
}

std::vector<std::string> limits_of_statistics(const FeatureStatistics& samples, const std::string& file, const SetReference& reference) {
  std::vector<std::string> out = limits_of_counts(samples.count.value_or(0), count_of(reference), samples.features->mean.dim(0));
  add_if_unnamed(out, samples, file), add_if_unnamed(out, reference.statistics, reference.name);
  return out;
}

void write_set_report(const std::filesystem::path& folder, const SetReport& r) {
  const auto compared = std::find_if(r.scores.rbegin(), r.scores.rend(), [](const SetScore& s) { return !s.reference.empty(); });
  const SetScore& shown = compared == r.scores.rend() ? r.scores.back() : *compared;     // the Inception Score compares with nothing
  HtmlReport page("Metrics of images", shown.reference.empty() ? shown.samples : fmt::format("{} against {}", shown.samples, shown.reference));
  std::vector<std::vector<std::string>> rows;
  for (const SetScore& s : r.scores) rows.push_back({s.number.name, with_error(s.number), s.number.settings, compared_with(s), s.features});
  page.table({"metric", "value", "settings", "compared with", "features"}, rows);
  for (const std::string& limit : r.limits) page.paragraph("Limit: " + limit + ".");
  std::vector<std::vector<std::string>> sets{{"samples", shown.samples, count_or_empty(shown.samples_count), shown.samples_id}};
  if (!shown.reference.empty()) sets.push_back({"reference", shown.reference, shown.reference_count == 0 ? "unknown" : count_or_empty(shown.reference_count), shown.reference_id});
  page.table({"", "name", "images", "fingerprint"}, sets);
  if (r.limit != nullptr) page.plot(plot_of(*r.limit));
  if (r.samples != nullptr) show_images(page, *r.samples, "Samples");
  if (r.reference != nullptr) show_images(page, *r.reference, "Reference");
  write_atomically(folder / "report.html", page.html());
}

}  // namespace fm
