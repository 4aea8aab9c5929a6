// Distances between generated samples and real ones, in a feature space.
//
//   Frechet distance (Heusel et al. 2017)      |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)),  m, S mean and covariance of the features
//   precision (Kynkaanniemi et al. 2019)       share of generated samples within the k-nearest-neighbor balls of real ones
//   recall                                     share of real samples within the k-nearest-neighbor balls of generated ones
//
// The Frechet distance of finite samples is biased upwards, and less so with more samples: compare only values from equal numbers of
// samples.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct GaussianFit {
  Tensor mean;        // (D) f64
  Tensor covariance;  // (D, D) f64, divided by n - 1
  std::int64_t count = 0;   // n; 0 if unknown
};

// features (n, D), f32 or f64. The mean is subtracted before products are summed in f64. All features are held in memory (400 MB for 50,000
// x 2,048 in f32). ShapeError unless n >= 2. Error names the first row that is not finite.
GaussianFit fit_gaussian(const Tensor& features);
// Covariances may be singular, as with fewer samples than features. The error is about 1e-11 of the traces. But the rounding of a file in f32 makes a
// singular covariance indefinite, and the distance then has an error of about 1e-5 of its value. ShapeError if the widths D differ.
double frechet_distance(const GaussianFit& a, const GaussianFit& b);

struct PrecisionRecall {
  double precision = 0, recall = 0;
};

enum class Ball { closed, open };   // whether a ball includes its surface

// real (n, D), generated (m, D), f32. The radius of a sample is the distance to the k-th nearest other sample of its own set; a duplicate
// is another sample, at distance 0. guided-diffusion and torch-fidelity use k = 3 and closed balls, prdc and dgm-eval k = 5 and open ones.
// |x - y|^2, summed in f64 over j = 0 .. D-1, decides whether a sample is inside, so ties and duplicates are exact. Products in f32 only
// find the pairs for which this sum is needed. Memory beside the features: two copies of them in f32, and 512 rows of distances. ShapeError if the widths differ or a set
// has k rows or fewer. Error names the first row that is not finite.
PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k = 3, Ball ball = Ball::closed);

// Returns the mean of the rows of x (n, D), (D) in f64 on x's device. Converts blocks of rows, so no f64 copy of x exists.
Tensor mean_of_rows(const Tensor& x);

// Returns the first row of x (n, ...) with a number that is NaN or infinite, or -1 if there is none.
std::int64_t first_row_not_finite(const Tensor& x);

}  // namespace fm
