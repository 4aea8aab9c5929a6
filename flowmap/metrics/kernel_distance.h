// Kernel distance of two sets of features (KID; Binkowski et al. 2018): the squared maximum mean discrepancy with the cubic kernel
//
//   k(x, y) = (x.y / D + 1)^3,      mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)
//
// Unlike the Frechet distance it is unbiased at any number of samples: for equal distributions it is about 0, below 0 as often as above.
// The kernel compares moments up to the third. Papers print 1,000 times this number, or the mean over random subsets of 1,000 samples,
// which has the same expectation.
#pragma once

#include <cstdint>

#include "flowmap/metrics/spread.h"
#include "tensor/tensor.h"

namespace fm {

// x (n, D), y (m, D), f32 or f64 on any device. Products in the type of the features (f64 if the types differ), sums in f64 in the order of
// rows: the result does not depend on the number of threads. Costs (n + m)^2 D multiplications; memory beside the features: 512 rows of
// products. ShapeError if a set has fewer than 2 rows or the widths differ. Error names the first row that is not finite.
double kernel_distance(const Tensor& x, const Tensor& y);

struct KernelSubsets {
  std::int64_t subsets = 100, rows = 1000;
  std::uint32_t seed = 2020;
};

// Kernel distances of random subsets, as torch-fidelity computes them: for each subset, `rows` rows of x and then `rows` rows of y are
// drawn without replacement from one NumpyRandom(seed). torch-fidelity's first input, x, is the generated set. The result agrees with
// torch-fidelity's to the rounding of its f32 kernel. The deviation is that of one subset, not the error of the mean. Costs 3 subsets
// rows^2 D multiplications. ShapeError if a set has fewer than `rows` rows or the widths differ; ConfigError unless subsets >= 1 and rows
// >= 2. Error names the first row that is not finite.
Spread kernel_distance_of_subsets(const Tensor& x, const Tensor& y, const KernelSubsets& subsets = {});

}  // namespace fm
