// Kernel distance of two sets of features (KID; Binkowski et al. 2018): the squared maximum mean discrepancy with the cubic kernel
//
//   k(x, y) = (x.y / D + 1)^3,      mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)
//
// Unlike the Frechet distance it is unbiased at any number of samples: for equal distributions it is about 0, below 0 as often as above. The kernel
// compares moments up to the third. Papers print 1,000 times this number. torch-fidelity prints the mean over random subsets of 1,000 samples, which has the same
// expectation.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// x (n, D), y (m, D), f32 on any device. Products in f32, sums in f64 in the order of rows: the result does not depend on the number of threads. Costs
// (n + m)^2 D multiplications; memory beside the features: 512 rows of products. ShapeError if a set has fewer than 2 rows or the widths differ. Error
// names the first row that is not finite.
double kernel_distance(const Tensor& x, const Tensor& y);

}  // namespace fm
