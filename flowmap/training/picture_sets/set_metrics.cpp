#include "flowmap/training/picture_sets/set_metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "flowmap/metrics/density_coverage.h"
#include "flowmap/metrics/inception_score.h"
#include "flowmap/metrics/kernel_distance.h"
#include "tensor/error.h"

namespace fm {
namespace {

struct Compared {
  const std::string& network;
  const SeenSet& samples;
  const SetReference& reference;
  const SetSettings& settings;
  SetResults& results;

  void add(const std::string& name, double value, double error, const std::string& with, std::int64_t reference_count) const {
    results.numbers.push_back({name, value, error, with, reference_count});
  }
  std::int64_t real_images() const { return reference.images->count; }
};

constexpr int precision_k = 3, density_k = 5;

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
std::string needs_images(const SeenSet& s, const SetReference& r) {
  return r.images ? needs_fit(s, {r.name, r.id, r.images, {}}) : "needs the reference's images: means and covariances do not suffice";
}
std::string needs_subsets(const SeenSet& s, const SetReference& r) {
  if (!r.images) return needs_images(s, r);
  const std::int64_t rows = KernelSubsets().rows, least = std::min(s.count, r.images->count);
  return least >= rows ? "" : fmt::format("needs {} images in each set, but one has {}: use kid_all", rows, least);
}
template <int k> std::string needs_neighbors(const SeenSet& s, const SetReference& r) {
  if (!r.images) return needs_images(s, r);
  const std::int64_t least = std::min(s.count, r.images->count);
  return least > k ? "" : fmt::format("needs more than {} images in each set, but one has {}", k, least);
}
std::string needs_twenty(const SeenSet& s, const SetReference& r) {
  return s.count >= 20 ? needs_fit(s, r) : fmt::format("needs 20 samples or more, but there are {}", s.count);
}

bool is_inception(const std::string& network) { return network == "inception"; }
std::string frechet_name(const std::string& network) { return is_inception(network) ? "fid" : "fd_" + network; }

GaussianFit fit_of(const SetReference& r, bool spatial) {
  const auto& stored = spatial ? r.statistics.spatial : r.statistics.features;
  if (stored) return *stored;
  return fit_gaussian(spatial ? r.images->spatial : r.images->vectors);
}

// Number of images behind fit_of; 0: unknown.
std::int64_t count_of_fit(const SetReference& r) { return r.statistics.features ? r.statistics.count.value_or(0) : r.images->count; }

void frechet_of(const Compared& c, const std::string& name, const Tensor& rows, bool spatial) {
  const FrechetReference reference(fit_of(c.reference, spatial));
  const bool halved = c.settings.halves >= 2 && c.samples.count >= 4;
  const double error = halved ? frechet_error(rows, reference, c.settings.halves, c.settings.seed).deviation : no_error;
  c.add(name, reference.distance(rows), error, halved ? fmt::format("error: {} random halves, seed {}", c.settings.halves, c.settings.seed) : "", count_of_fit(c.reference));
}
void fid(const Compared& c) { frechet_of(c, frechet_name(c.network), c.samples.vectors, false); }
void sfid(const Compared& c) { frechet_of(c, "sfid", c.samples.spatial, true); }

void score_of(const Compared& c, const char* name, const InceptionSplits& splits, const std::string& with) {
  const InceptionScore s = inception_score(c.samples.logits, splits);
  const bool several = s.splits.size() > 1;
  c.add(name, s.mean, several ? s.deviation : no_error, several ? fmt::format("{}; error: deviation over {} splits", with, s.splits.size()) : with, no_reference);
}
void inception(const Compared& c) {
  InceptionSplits splits = InceptionSplits::torch_fidelity();
  splits.count = std::min(splits.count, c.samples.count);
  splits.seed = c.settings.seed;
  score_of(c, "is", splits, fmt::format("{} splits, permuted with seed {}", splits.count, c.settings.seed));
}
void inception_adm(const Compared& c) { score_of(c, "is_adm", InceptionSplits::adm(), "splits of 5000 in the order of the images"); }

void kid(const Compared& c) {
  KernelSubsets subsets;
  subsets.seed = c.settings.seed;
  const Spread e = kernel_distance_of_subsets(c.samples.vectors, c.reference.images->vectors, subsets);
  c.add("kid", e.mean, e.deviation, fmt::format("{} subsets of {}, seed {}; error: deviation over subsets", subsets.subsets, subsets.rows, subsets.seed), c.real_images());
}
void kid_all(const Compared& c) { c.add("kid_all", kernel_distance(c.samples.vectors, c.reference.images->vectors), no_error, "all pairs", c.real_images()); }

void precision_and_recall(const Compared& c) {
  const PrecisionRecall pr = precision_recall(c.reference.images->vectors, c.samples.vectors, precision_k);
  const std::string with = fmt::format("k {}, closed balls", precision_k);
  c.add("precision", pr.precision, no_error, with, c.real_images()), c.add("recall", pr.recall, no_error, with, c.real_images());
}
void density_and_coverage(const Compared& c) {
  const DensityCoverage dc = density_coverage(c.reference.images->vectors, c.samples.vectors, density_k);
  const std::string with = fmt::format("k {}, open balls", density_k);
  c.add("density", dc.density, no_error, with, c.real_images()), c.add("coverage", dc.coverage, no_error, with, c.real_images());
}

void infinity(const Compared& c) {
  const FrechetLimit limit = frechet_infinity(c.samples.vectors, FrechetReference(fit_of(c.reference, false)), c.settings.seed);
  c.add(frechet_name(c.network) + "_infinity", limit.value, no_error, fmt::format("line through {} sizes of {} to {} samples, seed {}", limit.points.size(), limit.points.front().count,
                                                                                   limit.points.back().count, c.settings.seed),
        count_of_fit(c.reference));
  c.results.limit = limit;
}

struct SetMetric {
  const char* name;
  std::string (*missing)(const SeenSet&, const SetReference&);
  void (*measure)(const Compared&);
  bool usual = true;
};

constexpr SetMetric metrics_of_sets[] = {
    {"fid", needs_fit, fid},
    {"sfid", needs_spatial, sfid},
    {"is", needs_logits, inception},
    {"is_adm", needs_logits, inception_adm},
    {"kid", needs_subsets, kid},
    {"kid_all", needs_images, kid_all},
    {"precision_recall", needs_neighbors<precision_k>, precision_and_recall},
    {"density_coverage", needs_neighbors<density_k>, density_and_coverage},
    {"fid_infinity", needs_twenty, infinity, false},
};

const SetMetric& metric_named(const std::string& name) {
  for (const SetMetric& m : metrics_of_sets)
    if (name == m.name) return m;
  throw ConfigError(fmt::format("--metrics {}: there are {}", name, fmt::join(set_metric_names(), ", ")));
}

}  // namespace

std::vector<std::string> set_metric_names() {
  std::vector<std::string> out;
  for (const SetMetric& m : metrics_of_sets) out.emplace_back(m.name);
  return out;
}

void check_set_metrics(const std::vector<std::string>& names) {
  for (const std::string& name : names) metric_named(name);
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

SetResults measured_set(const std::string& network, const SeenSet& samples, const SetReference& reference, const std::vector<std::string>& metrics, const SetSettings& settings) {
  std::vector<const SetMetric*> wanted;
  for (const std::string& name : metrics) {
    wanted.push_back(&metric_named(name));
    if (const std::string why = wanted.back()->missing(samples, reference); !why.empty()) throw ConfigError(fmt::format("--metrics {}: it {}", name, why));
  }
  SetResults results;
  for (const SetMetric* metric : wanted) metric->measure({network, samples, reference, settings, results});
  return results;
}

void refuse_other_weights(const FeatureStatistics& statistics, const Features& features, const std::string& file) {
  const std::size_t at = statistics.fingerprint.find(made_with);
  if (at == std::string::npos || statistics.fingerprint.substr(at + std::string_view(made_with).size()) == features.fingerprint) return;
  throw FileError(fmt::format("{}: statistics of {}, but --features is {}: give the weights that the statistics were made with, or compute the statistics again", file,
                              statistics.fingerprint.substr(at + std::string_view(made_with).size()), features.fingerprint));
}

FeatureStatistics statistics_of(const SeenSet& set, const Features& features) {
  FeatureStatistics out{.features = fit_gaussian(set.vectors), .spatial = {}, .count = set.count, .network = features.name, .convention = features.preparation,
                        .fingerprint = set.id + made_with + features.fingerprint};
  if (set.spatial.defined()) out.spatial = fit_gaussian(set.spatial);
  return out;
}

}  // namespace fm
