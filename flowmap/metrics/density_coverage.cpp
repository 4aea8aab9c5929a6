#include "flowmap/metrics/density_coverage.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "flowmap/metrics/neighbours.h"
#include "tensor/error.h"

namespace fm {

DensityCoverage density_coverage(const Tensor& real, const Tensor& generated, int k) {
  if (real.rank() != 2 || generated.rank() != 2 || real.dim(1) != generated.dim(1) || k < 1 || real.dim(0) <= k || generated.dim(0) < 1)
    throw ShapeError("density_coverage: real " + to_string(real.shape()) + ", generated " + to_string(generated.shape()) + ", k " +
                     std::to_string(k) +
                     ": k must be 1 or more, the real set needs more than k rows and the generated set one, all of the same width");
  const SearchSets sets = search_sets("density_coverage", real, generated);
  const SearchPoints &x = sets.real, &y = sets.generated;
  const std::vector<double> radius = squared_radii(x, k);
  std::vector<std::int64_t> inside(radius.size());  // generated samples in the ball of each real one
  for_each_row_of_bounds(x, y, [&](std::int64_t i, const DistanceBounds& bounds) {
    const auto at = static_cast<std::size_t>(i);
    for (std::int64_t j = 0; j < y.count(); ++j) inside[at] += is_within(x, i, y, j, radius[at], Ball::open, bounds);
  });
  const std::int64_t pairs = std::accumulate(inside.begin(), inside.end(), std::int64_t{0}),
                     empty = std::count(inside.begin(), inside.end(), 0);
  return {static_cast<double>(pairs) / (static_cast<double>(k) * static_cast<double>(y.count())),
          static_cast<double>(x.count() - empty) / static_cast<double>(x.count())};
}

}  // namespace fm
