// Density and coverage (Naeem et al. 2020) of generated samples y_j, j < m, with real samples x_i, i < n:
//
//   density  = 1/(k m) sum_ij [ |x_i - y_j| < r_i ]        how many balls of real samples a generated sample lies in, over k; may exceed 1
//   coverage = 1/n sum_i [ min_j |x_i - y_j| < r_i ]       share of real samples with a generated sample in their ball
//
// r_i is the distance of x_i to its k-th nearest other real sample. Unlike precision and recall, both use the balls of real samples alone,
// so a generated outlier has no ball that would count as coverage.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct DensityCoverage {
  double density = 0, coverage = 0;
};

// real (n, D), generated (m, D), f32. Balls are open, and distances are decided as in precision_recall (frechet.h). Costs n (n + m) D
// multiplications in f32; memory beside the features: two copies of them in f32, and 512 rows of distances.
// ShapeError if the widths differ, k < 1, the real set has k rows or fewer, or the generated set none. Error names the first row that is
// not finite.
DensityCoverage density_coverage(const Tensor& real, const Tensor& generated, int k = 5);

}  // namespace fm
