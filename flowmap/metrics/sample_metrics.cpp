#include "flowmap/metrics/sample_metrics.h"

namespace fm {
namespace {

std::vector<double> frechet(const FeatureSets& sets) { return {frechet_distance(fit_gaussian(sets.generated), sets.real_fit)}; }

std::vector<double> neighbour_shares(const FeatureSets& sets) {
  const PrecisionRecall pr = precision_recall(sets.real, sets.generated, sets.neighbours);
  return {pr.precision, pr.recall};
}

}  // namespace

const std::vector<SampleMetric>& sample_metrics() {
  static const std::vector<SampleMetric> list{
      {{{"frechet", "Frechet", "Frechet distance to the reference in the judge's features"}}, frechet},
      {{{"precision", "precision", "share of samples within the reference's nearest-neighbour balls"},
        {"recall", "recall", "share of the reference within the samples' nearest-neighbour balls"}},
       neighbour_shares},
  };
  return list;
}

}  // namespace fm
