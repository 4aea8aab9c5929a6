#include <algorithm>
#include <string>

#include "flowmap/metrics/frechet.h"
#include "flowmap/metrics/neighbours.h"
#include "tensor/error.h"

namespace fm {
namespace {

// The share of points that lie in the ball of at least one center.
double covered(const SearchPoints& points, const SearchPoints& centres, const std::vector<double>& radius, Ball ball) {
  std::vector<char> inside(static_cast<std::size_t>(points.count()), 0);
  for_each_row_of_bounds(points, centres, [&](std::int64_t i, const DistanceBounds& bounds) {
    bool found = false;  // most points lie in some ball by the bounds alone, so these are tried with all balls first
    for (std::int64_t j = 0; j < centres.count() && !found; ++j)
      found = within(bounds(i, j).high, radius[static_cast<std::size_t>(j)], ball);
    for (std::int64_t j = 0; j < centres.count() && !found; ++j)
      found = is_within(points, i, centres, j, radius[static_cast<std::size_t>(j)], ball, bounds);
    inside[static_cast<std::size_t>(i)] = found;
  });
  return static_cast<double>(std::count(inside.begin(), inside.end(), 1)) / static_cast<double>(points.count());
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k, Ball ball) {
  if (real.rank() != 2 || generated.rank() != 2 || real.dim(1) != generated.dim(1) || k < 1 || real.dim(0) <= k || generated.dim(0) <= k)
    throw ShapeError("precision_recall: real " + to_string(real.shape()) + ", generated " + to_string(generated.shape()) + ", k " +
                     std::to_string(k) + ": k must be 1 or more, each set needs more than k rows, and all rows the same width");
  const SearchSets sets = search_sets("precision_recall", real, generated);
  return {covered(sets.generated, sets.real, squared_radii(sets.real, k), ball),
          covered(sets.real, sets.generated, squared_radii(sets.generated, k), ball)};
}

}  // namespace fm
