#include "flowmap/metrics/sample_metrics.h"

#include "flowmap/metrics/energy.h"
#include "flowmap/metrics/inception_score.h"
#include "flowmap/metrics/kernel_distance.h"
#include "flowmap/metrics/series.h"

namespace fm {
namespace {

std::vector<double> frechet(const FeatureSets& sets) { return {frechet_distance(fit_gaussian(sets.generated), sets.real_fit)}; }

std::vector<double> neighbour_shares(const FeatureSets& sets) {
  const PrecisionRecall pr = precision_recall(sets.real, sets.generated, sets.neighbours);
  return {pr.precision, pr.recall};
}

std::vector<double> energy(const FeatureSets& sets) { return {energy_distance(sets.generated, sets.real)}; }

std::vector<double> kid(const FeatureSets& sets) { return {kernel_distance(sets.generated, sets.real)}; }

std::vector<double> sfid(const FeatureSets& sets) { return {frechet_distance(fit_gaussian(sets.spatial), *sets.real_spatial_fit)}; }

std::vector<double> inception_score_of(const FeatureSets& sets) { return {inception_score(sets.logits, InceptionSplits::torch_fidelity()).mean}; }

std::vector<double> series(const FeatureSets& sets) {
  const auto sequences = [&](const Tensor& x) { return x.reshape({x.dim(0), sets.sample[0], sets.sample[1]}); };
  const SeriesErrors e = series_errors(sequences(sets.generated), sequences(sets.real));
  return {e.mean, e.variance, e.correlation, e.power};
}

bool are_sequences(const FeatureSets& sets) { return sets.sample.rank() == 2 && sets.sample[1] >= 2; }
bool are_values(const FeatureSets& sets) { return sets.sample.rank() > 0; }
bool are_features(const FeatureSets& sets) { return !are_values(sets); }
bool have_spatial(const FeatureSets& sets) { return sets.spatial.defined() && sets.real_spatial_fit != nullptr; }
bool fill_splits(const FeatureSets& sets) { return sets.logits.defined() && sets.logits.dim(0) >= InceptionSplits::torch_fidelity().count; }

}  // namespace

const std::vector<SampleMetric>& sample_metrics() {
  static const std::vector<SampleMetric> list{
      {{{"frechet", "Frechet", "Frechet distance to the reference between the features; FID, if they are Inception's"}}, frechet},
      {{{"precision", "precision", "share of samples within the reference's nearest-neighbor balls", 3, true},
        {"recall", "recall", "share of the reference within the samples' nearest-neighbor balls", 3, true}},
       neighbour_shares},
      {{{"energy_distance", "energy", "energy distance between values of generated and real samples, in the unit of the data; 0 for equal distributions", 4}}, energy, are_values},
      {{{"mean_error", "mean error", "error of the mean of sequences: root mean square over positions, divided by the data's standard deviation", 4},
        {"variance_error", "variance error", "error of the variance of sequences: root mean square over positions, divided by the data's variance", 4},
        {"correlation_error", "correlation error", "error of the autocorrelation of sequences: root mean square over lags", 4},
        {"power_error", "power error", "error of the power of sequences: sum of absolute errors over frequencies, divided by the data's total power", 4}},
       series, are_sequences},
      {{{"kid", "KID", "kernel distance (KID) to the reference between the features: unbiased, about 0 for equal distributions", 4}}, kid, are_features},
      {{{"sfid", "sFID", "Frechet distance to the reference between Inception's spatial features"}}, sfid, have_spatial},
      {{{"is", "IS", "Inception Score: permuted rows, mean of 10 splits, as torch-fidelity's", 3, true}}, inception_score_of, fill_splits},
  };
  return list;
}

std::map<std::string, double> measured_metrics(const FeatureSets& sets) {
  std::map<std::string, double> out;
  for (const SampleMetric& metric : sample_metrics()) {
    if (metric.is_for != nullptr && !metric.is_for(sets)) continue;
    const std::vector<double> numbers = metric.measure(sets);
    for (std::size_t i = 0; i < metric.values.size(); ++i) out[metric.values[i].name] = numbers.at(i);
  }
  return out;
}

}  // namespace fm
