// Energy distance (Szekely and Rizzo 2013) between two sets of points, and the distance of a flow map from the exact one.
//
//   E = 2 E|x - y| - E|x - x'| - E|y - y'|
//
// E is 0 for equal distributions and above 0 for all others, so it detects a missing mode, a shift and a blur. E needs no features and no fit, so it
// suits data of few dimensions. The means within a set leave out the pairs of a point with itself, so the estimate is unbiased: for two sets of
// samples of the same distribution it is below 0 about as often as above. With 4,000 points of the plane in each set, of variance 1, E scatters by
// about 0.0004.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// x (n, ...), y (m, ...) f32 or f64 on any device, rows of equal size; distances and sums in f64. The result does not depend on the number of
// threads. Costs (n m + (n^2 + m^2)/2) D multiplications: 0.1 s for two sets of 4,000 points of the plane.
// ShapeError if a set has fewer than 2 rows, or if the rows differ in size. Error names the first row that is not finite.
double energy_distance(const Tensor& x, const Tensor& y);

// Mean over rows of |a - b|^2, summed in f64. With one-call samples a = f(eps) and exact samples b = f*(eps) this is the error of the flow map.
// ShapeError if the shapes (n, ...) differ or have no rows.
double mean_square_distance(const Tensor& a, const Tensor& b);

}  // namespace fm
