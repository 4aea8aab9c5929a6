#include "flowmap/training/picture_sets/statistics_pair.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"

namespace fm {
namespace {

void refuse_other(const char* what, const std::string& a, const std::string& a_file, const std::string& b, const std::string& b_file) {
  if (a.empty() || b.empty() || a == b) return;
  throw FileError(fmt::format("{} has statistics of the {} \"{}\", but {} of \"{}\": compute both with the same features", a_file, what, a, b_file, b));
}

// The fit of the reference: that of its file if it has one, as in set_metrics.cpp, else of its images. Nothing if it has none of these features.
std::optional<GaussianFit> fit_of_reference(const SetReference& r, bool spatial) {
  if (r.statistics.features) return spatial ? r.statistics.spatial : r.statistics.features;
  if (!r.images || (spatial && !r.images->spatial.defined())) return {};
  return fit_gaussian(spatial ? r.images->spatial : r.images->vectors);
}

}  // namespace

std::string features_of_statistics(const FeatureStatistics& s) {
  if (const std::string weights = weights_of_statistics(s); !weights.empty()) return weights;
  return s.network + (s.network.empty() || s.convention.empty() ? "" : " ") + s.convention;
}

void refuse_unlike_statistics(const FeatureStatistics& a, const std::string& a_file, const FeatureStatistics& b, const std::string& b_file) {
  refuse_other("network", a.network, a_file, b.network, b_file);
  refuse_other("preparation", a.convention, a_file, b.convention, b_file);
  refuse_other("features", weights_of_statistics(a), a_file, weights_of_statistics(b), b_file);
  if (a.features->mean.dim(0) != b.features->mean.dim(0))
    throw FileError(fmt::format("{} has statistics of {} features, but {} of {}: compute both with the same features", a_file, a.features->mean.dim(0), b_file, b.features->mean.dim(0)));
}

std::vector<SetNumber> distances_of_statistics(const std::string& network, const FeatureStatistics& samples, const std::string& file, const SetReference& reference,
                                               const std::vector<std::string>& metrics) {
  for (const std::string& name : metrics)
    if (name != "fid" && name != "sfid") throw ConfigError(fmt::format("--metrics {}: it needs the images of the samples, but {} has only their statistics", name, file));
  const auto wanted = [&](const char* name) { return metrics.empty() || std::find(metrics.begin(), metrics.end(), name) != metrics.end(); };
  const std::int64_t real = reference.statistics.features ? reference.statistics.count.value_or(0) : reference.images->count;
  const double no_error = std::numeric_limits<double>::quiet_NaN();
  const char* with = "of means and covariances alone";
  std::vector<SetNumber> out;
  if (wanted("fid")) out.push_back({name_of_metric(network, "fid"), frechet_distance(*samples.features, *fit_of_reference(reference, false)), no_error, with, real});
  if (!wanted("sfid")) return out;
  const std::optional<GaussianFit> spatial = fit_of_reference(reference, true);
  if (samples.spatial && spatial) out.push_back({"sfid", frechet_distance(*samples.spatial, *spatial), no_error, with, real});
  else if (!metrics.empty()) throw ConfigError(fmt::format("--metrics sfid: it needs mu_s and sigma_s, which {} lacks", samples.spatial ? reference.name : file));
  return out;
}

}  // namespace fm
