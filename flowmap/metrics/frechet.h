// How far generated samples are from real ones, in a feature space.
//
//   Frechet distance (Heusel et al. 2017)      |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)),  m, S mean and covariance of the features
//   precision, recall (Kynkaanniemi et al. 2019)   share of generated samples within the k-nearest-neighbour balls of real ones; and the reverse
//
// The Frechet distance of finite samples is biased upwards, less with more samples: compare only values of equal counts.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct GaussianFit {
  Tensor mean;             // (D) f64
  Tensor covariance;       // (D, D) f64, divided by n - 1
  std::int64_t count = 0;
};

GaussianFit fit_gaussian(const Tensor& features);                             // (n, D), n >= 2
double frechet_distance(const GaussianFit& a, const GaussianFit& b);          // ShapeError if the dimensions differ

struct PrecisionRecall {
  double precision = 0, recall = 0;
};
PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k = 3);   // (n, D), (m, D)

// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric f64 matrix, by cyclic Jacobi rotations.
struct Eigen {
  Tensor values, vectors;
};
Eigen symmetric_eigen(const Tensor& matrix);

}  // namespace fm
