// Distances between generated samples and real ones, in a feature space.
//
//   Frechet distance (Heusel et al. 2017)      |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)),  m, S mean and covariance of the features
//   precision, recall (Kynkaanniemi et al. 2019)   share of generated samples within the k-nearest-neighbor balls of real ones; and the
//   reverse
//
// The Frechet distance of finite samples is biased upwards, less with more samples: compare only values of equal counts.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct GaussianFit {
  Tensor mean;        // (D) f64
  Tensor covariance;  // (D, D) f64, divided by n - 1
  std::int64_t count = 0;
};

// (n, D), n >= 2, f32 or f64; sums in f64 after the mean is taken away. ShapeError; Error names the first row that is not finite.
GaussianFit fit_gaussian(const Tensor& features);
// Supports singular covariances, as of fewer samples than features, to about 1e-11 of the traces. ShapeError if the dimensions differ.
double frechet_distance(const GaussianFit& a, const GaussianFit& b);

struct PrecisionRecall {
  double precision = 0, recall = 0;
};

// real (n, D), generated (m, D), f32. The radius of a sample is the distance to the k-th nearest other sample of its own set; a duplicate
// is another sample, at distance 0. A ball includes its surface. Decided as by |x - y|^2 summed in f64 over j = 0 .. D-1, so ties and
// duplicates are exact: products in f32 only find the pairs that need a closer look. Memory beside the features: 512 rows of distances.
// ShapeError: other dimensions, or not more than k rows; Error names the first row that is not finite.
PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k = 3);

// The first row of x (n, ...) with a number that is NaN or infinite; -1: none.
std::int64_t first_row_not_finite(const Tensor& x);

}  // namespace fm
