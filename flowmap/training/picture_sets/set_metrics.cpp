#include "flowmap/training/picture_sets/set_metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "flowmap/metrics/density_coverage.h"
#include "flowmap/metrics/inception_score.h"
#include "flowmap/metrics/kernel_distance.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"

namespace fm {
namespace {

bool is_inception(const std::string& network) { return network == "inception"; }

GaussianFit fit_of(const SetReference& r, bool spatial) {
  const auto& stored = spatial ? r.statistics.spatial : r.statistics.features;
  if (stored) return *stored;
  return fit_gaussian(spatial ? r.images->spatial : r.images->vectors);
}

struct Compared {
  const std::string& network;
  const SeenSet& samples;
  const SetReference& reference;
  const SetSettings& settings;
  SetResults& results;
  mutable std::optional<FrechetReference> reference_fit = {};

  void add(const std::string& name, double value, double error, const std::string& with, std::int64_t reference_count) const {
    results.numbers.push_back({name, value, error, with, reference_count});
  }
  std::int64_t real_images() const { return reference.images->count; }
  std::string named(const std::string& metric) const { return name_of_metric(network, metric); }
  // Of the features, not the spatial ones. Two metrics need its factor.
  const FrechetReference& fitted() const {
    if (!reference_fit) reference_fit.emplace(fit_of(reference, false));
    return *reference_fit;
  }
};

constexpr int density_k = 5;

constexpr const char* made_with = " of ";        // in the fingerprint of statistics: images, then features
constexpr double no_error = std::numeric_limits<double>::quiet_NaN();

// Reasons why a metric cannot be measured; empty: it can.
std::string needs_fit(const SeenSet& s, const SetReference& r) {
  if (s.count < 2) return fmt::format("needs 2 images or more, but {} has {}", s.name, s.count);
  if (r.statistics.features) return "";
  if (!r.images) return "needs images or statistics of the reference";
  return r.images->count >= 2 ? "" : fmt::format("needs 2 images or more, but {} has {}", r.images->name, r.images->count);
}
std::string needs_spatial(const SeenSet& s, const SetReference& r) {
  if (!s.spatial.defined()) return "needs the spatial features of FID's Inception: --features inception:FILE";
  if (const std::string why = needs_fit(s, r); !why.empty()) return why;
  if (r.statistics.features) return r.statistics.spatial ? "" : "needs mu_s and sigma_s, which the reference file lacks";
  return "";
}
std::string needs_logits(const SeenSet& s, const SetReference&) { return s.logits.defined() ? "" : "needs the logits of FID's Inception: --features inception:FILE"; }
std::string needs_splits(const SeenSet& s, const SetReference& r) {
  const std::int64_t splits = InceptionSplits::torch_fidelity().count;
  if (const std::string why = needs_logits(s, r); !why.empty() || s.count >= splits) return why;
  return fmt::format("needs {} images or more for its {} splits, but {} has {}", splits, splits, s.name, s.count);
}
std::string needs_images(const SeenSet& s, const SetReference& r) {
  return r.images ? needs_fit(s, {r.name, r.id, r.images, {}}) : "needs the reference's images: means and covariances do not suffice";
}
std::string needs_subsets(const SeenSet& s, const SetReference& r) {
  if (!r.images) return needs_images(s, r);
  const std::int64_t rows = KernelSubsets().rows, least = std::min(s.count, r.images->count);
  return least >= rows ? "" : fmt::format("needs {} images in each set, but one has {}: use kid_all", rows, least);
}
std::string needs_neighbors(const SeenSet& s, const SetReference& r) {
  if (!r.images) return needs_images(s, r);
  const std::int64_t least = std::min(s.count, r.images->count);
  return least > density_k ? "" : fmt::format("needs more than {} images in each set, but one has {}", density_k, least);
}
std::string needs_line(const SeenSet& s, const SetReference& r) {
  const std::int64_t width = s.vectors.dim(1), smallest = smallest_of_limit(s.count);
  if (s.count >= 20 && smallest > width) return needs_fit(s, r);
  return fmt::format("needs {} samples or more, so that its smallest subset has more samples than the {} features, but there are {}", std::max<std::int64_t>(20, 10 * (width + 1)), width, s.count);
}

// Number of images behind fit_of; 0: unknown.
std::int64_t count_of_fit(const SetReference& r) { return r.statistics.features ? r.statistics.count.value_or(0) : r.images->count; }

void frechet_of(const Compared& c, const std::string& name, const Tensor& rows, const FrechetReference& reference) {
  const bool wanted = c.settings.halves >= 2, halved = wanted && c.samples.count / 2 >= rows.dim(1);    // frechet_error has no meaning for fewer
  const double error = halved ? frechet_error(rows, reference, c.settings.halves, c.settings.seed).deviation : no_error;
  const std::string with = halved   ? fmt::format("error: {} random halves, seed {}", c.settings.halves, c.settings.seed)
                           : wanted ? fmt::format("standard error not estimated: half of the samples are fewer than the {} features", rows.dim(1))
                                    : "";
  c.add(name, reference.distance(rows), error, with, count_of_fit(c.reference));
}
void fid(const Compared& c) { frechet_of(c, c.named("fid"), c.samples.vectors, c.fitted()); }
void sfid(const Compared& c) { frechet_of(c, "sfid", c.samples.spatial, FrechetReference(fit_of(c.reference, true))); }

void score_of(const Compared& c, const char* name, const InceptionSplits& splits, const std::string& with) {
  const InceptionScore s = inception_score(c.samples.logits, splits);
  const bool several = s.splits.size() > 1;
  c.add(name, s.mean, several ? s.deviation : no_error, several ? fmt::format("{}; error: deviation over {} splits", with, s.splits.size()) : with, no_reference);
}
void inception(const Compared& c) {
  InceptionSplits splits = InceptionSplits::torch_fidelity();
  splits.seed = c.settings.seed;
  score_of(c, "is", splits, fmt::format("{} splits of {}, permuted with seed {}", splits.count, c.samples.count / splits.count, c.settings.seed));
}
void inception_adm(const Compared& c) {
  const InceptionSplits splits = InceptionSplits::adm();
  score_of(c, "is_adm", splits, fmt::format("{} {} in the order of the images", c.samples.count > splits.rows ? "splits of" : "one split of", std::min(splits.rows, c.samples.count)));
}

void kid(const Compared& c) {
  KernelSubsets subsets;
  subsets.seed = c.settings.seed;
  const Spread e = kernel_distance_of_subsets(c.samples.vectors, c.reference.images->vectors, subsets);
  c.add(c.named("kid"), e.mean, e.deviation, fmt::format("{} subsets of {}, seed {}; error: deviation over subsets", subsets.subsets, subsets.rows, subsets.seed), c.real_images());
}
void kid_all(const Compared& c) { c.add(c.named("kid_all"), kernel_distance(c.samples.vectors, c.reference.images->vectors), no_error, "all pairs", c.real_images()); }

void precision_and_recall(const Compared& c) {
  const bool closed = is_inception(c.network);               // guided-diffusion and torch-fidelity; otherwise dgm-eval
  const int k = closed ? 3 : 5;
  const PrecisionRecall pr = precision_recall(c.reference.images->vectors, c.samples.vectors, k, closed ? Ball::closed : Ball::open);
  const std::string with = fmt::format("k {}, {} balls", k, closed ? "closed" : "open");
  c.add(c.named("precision"), pr.precision, no_error, with, c.real_images()), c.add(c.named("recall"), pr.recall, no_error, with, c.real_images());
}
void density_and_coverage(const Compared& c) {
  const DensityCoverage dc = density_coverage(c.reference.images->vectors, c.samples.vectors, density_k);
  const std::string with = fmt::format("k {}, open balls", density_k);
  c.add(c.named("density"), dc.density, no_error, with, c.real_images()), c.add(c.named("coverage"), dc.coverage, no_error, with, c.real_images());
}

void infinity(const Compared& c) {
  const FrechetLimit limit = frechet_infinity(c.samples.vectors, c.fitted(), c.settings.seed);
  c.add(c.named("fid") + "_infinity", limit.value, no_error, fmt::format("line through {} sizes of {} to {} samples, seed {}", limit.points.size(), limit.points.front().count,
                                                                                   limit.points.back().count, c.settings.seed),
        count_of_fit(c.reference));
  c.results.limit = limit;
}

enum class Reads { nothing, fit, spatial_fit, images };      // of the reference

struct SetMetric {
  const char* name;
  Reads reads;
  std::string (*missing)(const SeenSet&, const SetReference&);
  void (*measure)(const Compared&);
  bool of_counts = true;       // whether `missing` reads only numbers of images
  bool usual = true;
};

constexpr SetMetric metrics_of_sets[] = {
    {"fid", Reads::fit, needs_fit, fid},
    {"sfid", Reads::spatial_fit, needs_spatial, sfid, false},
    {"is", Reads::nothing, needs_splits, inception, false},
    {"is_adm", Reads::nothing, needs_logits, inception_adm, false},
    {"kid", Reads::images, needs_subsets, kid},
    {"kid_all", Reads::images, needs_images, kid_all},
    {"precision_recall", Reads::images, needs_neighbors, precision_and_recall},
    {"density_coverage", Reads::images, needs_neighbors, density_and_coverage},
    {"fid_infinity", Reads::fit, needs_line, infinity, false, false},
};

const SetMetric& metric_named(const std::string& name) {
  for (const SetMetric& m : metrics_of_sets)
    if (name == m.name) return m;
  throw ConfigError(fmt::format("--metrics {}: there are {}", name, fmt::join(set_metric_names(), ", ")));
}

}  // namespace

std::string name_of_metric(const std::string& network, const std::string& metric) {
  return is_inception(network) ? metric : (metric == "fid" ? "fd" : metric) + "_" + network;
}

std::vector<std::string> set_metric_names() {
  std::vector<std::string> out;
  for (const SetMetric& m : metrics_of_sets) out.emplace_back(m.name);
  return out;
}

void check_set_metrics(const std::vector<std::string>& names) {
  for (const std::string& name : names) metric_named(name);
}

ReferenceInputs reference_inputs(const std::vector<std::string>& metrics, const FeatureStatistics& stored) {
  ReferenceInputs out;
  for (const SetMetric& m : metrics_of_sets) {
    if (!metrics.empty() && std::find(metrics.begin(), metrics.end(), m.name) == metrics.end()) continue;
    const bool of_fit = m.reads == Reads::fit || m.reads == Reads::spatial_fit;
    out.images = out.images || m.reads == Reads::images || (of_fit && !stored.features);
    out.spatial = out.spatial || (m.reads == Reads::spatial_fit && !stored.features);
  }
  return out;
}

std::string why_no_set_metric(const SeenSet& samples, const SetReference& reference) {
  std::string out;
  for (const SetMetric& m : metrics_of_sets) out += fmt::format("{}{} {}", out.empty() ? "" : "; ", m.name, m.missing(samples, reference));
  return out;
}

std::vector<std::string> usual_set_metrics(const SeenSet& samples, const SetReference& reference) {
  std::vector<std::string> out;
  for (const SetMetric& m : metrics_of_sets)
    if (m.usual && m.missing(samples, reference).empty()) out.emplace_back(m.name);
  return out;
}

namespace {

void refuse_missing(const SetMetric& metric, const SeenSet& samples, const SetReference& reference) {
  if (const std::string why = metric.missing(samples, reference); !why.empty()) throw ConfigError(fmt::format("--metrics {}: it {}", metric.name, why));
}

}  // namespace

void refuse_too_few(const std::vector<std::string>& names, const SeenSet& samples, const SetReference& reference) {
  for (const std::string& name : names)
    if (const SetMetric& metric = metric_named(name); metric.of_counts) refuse_missing(metric, samples, reference);
}

SetResults measured_set(const std::string& network, const SeenSet& samples, const SetReference& reference, const std::vector<std::string>& metrics, const SetSettings& settings) {
  std::vector<const SetMetric*> wanted;
  for (const std::string& name : metrics) {
    wanted.push_back(&metric_named(name));
    refuse_missing(*wanted.back(), samples, reference);
  }
  SetResults results;
  const Compared compared{network, samples, reference, settings, results};
  for (const SetMetric* metric : wanted) {
    check_interrupt();
    if (settings.begins) settings.begins(metric->name);
    metric->measure(compared);
  }
  return results;
}

std::string weights_of_statistics(const FeatureStatistics& statistics) {
  const std::size_t at = statistics.fingerprint.find(made_with);
  return at == std::string::npos ? "" : statistics.fingerprint.substr(at + std::string_view(made_with).size());
}

void refuse_other_weights(const FeatureStatistics& statistics, const Features& features, const std::string& file) {
  const std::string weights = weights_of_statistics(statistics);
  if (weights.empty() || weights == features.fingerprint) return;
  throw FileError(fmt::format("{}: statistics of {}, but --features is {}: give the weights that the statistics were made with, or compute the statistics again", file, weights,
                              features.fingerprint));
}

FeatureStatistics statistics_of(const SeenSet& set, const Features& features) {
  FeatureStatistics out{.features = fit_gaussian(set.vectors), .spatial = {}, .count = set.count, .network = features.name, .convention = features.preparation,
                        .fingerprint = set.id + made_with + features.fingerprint};
  if (set.spatial.defined()) out.spatial = fit_gaussian(set.spatial);
  return out;
}

}  // namespace fm
