// Search for near neighbors: squared distances between rows, bounded by products in f32 and decided in f64. Shared by precision_recall
// (frechet.h) and density_coverage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "flowmap/metrics/frechet.h"
#include "tensor/interrupt.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace fm {

// Two copies of a set of points: one unchanged on the CPU, for exact distances, and one moved towards the origin, for products in f32.
struct SearchPoints {
  Tensor exact;              // (n, D) f32
  Tensor moved;              // (n, D) f32, minus a mean: rows of smaller norm have smaller rounding errors
  std::vector<double> size;  // |moved row|^2

  SearchPoints(const Tensor& x, const Tensor& mean);
  std::int64_t count() const { return exact.dim(0); }
  std::int64_t width() const { return exact.dim(1); }
};

// Sum over j of (a_ij - b_kj)^2 in f64.
double squared_distance(const SearchPoints& a, std::int64_t i, const SearchPoints& b, std::int64_t k);

// Bounds of the squared distances between rows of a and all rows of b, computed as |x|^2 + |y|^2 - 2 x.y. The error bound holds for a sum
// in any order (Higham, Accuracy and Stability, 3.1): (D + 8) eps/2 (|x|^2 + |y|^2) covers the product and the shift of both points, and
// 1e-36 a possible underflow.
class DistanceBounds {
 public:
  static constexpr std::int64_t rows = 512;      // rows of distances at a time
  struct Bounds {
    double low, high;
  };
  DistanceBounds(const SearchPoints& a, std::int64_t begin, std::int64_t end, const SearchPoints& b);
  Bounds operator()(std::int64_t i, std::int64_t j) const;

 private:
  const SearchPoints &a_, &b_;
  std::int64_t begin_;
  Tensor products_;
  double slack_;
};

// Calls f(i, bounds) for every row i of a, in parallel.
template <class F>
void for_each_row_of_bounds(const SearchPoints& a, const SearchPoints& b, const F& f) {
  for (std::int64_t begin = 0; begin < a.count(); begin += DistanceBounds::rows) {
    check_interrupt();
    const std::int64_t end = std::min(a.count(), begin + DistanceBounds::rows);
    const DistanceBounds bounds(a, begin, end, b);
    parallel_for(end - begin, b.count() * 4, [&](std::int64_t r) { f(begin + r, bounds); });
  }
}

// The squared distance of each row to its k-th nearest other row. x has more than k rows.
std::vector<double> squared_radii(const SearchPoints& x, int k);

// Whether a squared distance is at most a squared radius, or below it for an open ball.
inline bool within(double distance, double radius, Ball ball) { return ball == Ball::closed ? distance <= radius : distance < radius; }

// A decision for points i of `a` and j of `b` with the squared radius of a ball around one of the two.
bool is_within(const SearchPoints& a, std::int64_t i, const SearchPoints& b, std::int64_t j, double radius, Ball ball,
               const DistanceBounds& bounds);

// real and generated, both minus the mean of real. Error, with `metric` first, names the first row that is not finite.
struct SearchSets {
  SearchPoints real, generated;
};
SearchSets search_sets(const char* metric, const Tensor& real, const Tensor& generated);

}  // namespace fm
