// Frechet distances of several sets to one reference, whose factor is computed once, and two numbers made of such distances: the
// extrapolation to infinitely many samples and a standard error.
#pragma once

#include <cstdint>
#include <vector>

#include "flowmap/metrics/frechet.h"

namespace fm {

// With S1 = A^T A of the reference and S2 = B^T B of the other set, tr (S1 S2)^(1/2) is the sum of the singular values of A B^T
// (frechet.cpp). The factor A (rank, D) is kept.
class FrechetReference {
 public:
  explicit FrechetReference(const GaussianFit& fit);

  std::int64_t width() const { return mean_.dim(0); }
  double distance(const GaussianFit& other) const;          // ShapeError if the widths differ
  // Distance of the fit of features (n, D). For n <= D the rows minus their mean, divided by sqrt(n-1), are B themselves: no covariance and
  // no second factor are needed, and the result is exact for the singular covariance (4 n D (n + D/2) operations). ShapeError unless n >= 2
  // and the widths agree. Error names the first row that is not finite.
  double distance(const Tensor& features) const;

 private:
  Tensor mean_;
  double trace_;
  Tensor factor_;
};

struct FrechetLimit {
  struct Point {
    std::int64_t count = 0;
    double distance = 0;
  };
  double value = 0;              // of the line at 1/count = 0
  double slope = 0;              // distance = value + slope / count
  std::vector<Point> points;     // in order of count
};

// Frechet distance extrapolated to infinitely many generated samples ("FID infinity": Chong and Forsyth 2020; sizes of Stein et al. 2023).
// The bias of the distance is about slope / count, so a line is fitted by least squares to the distances of random subsets against 1/count.
// The counts are `sizes` numbers at equal spacing from min(5000, max(2, n/10)) to n, rounded down; each subset is the beginning of the next
// permutation of one NumpyRandom(seed). The bias of the reference remains. The line has a meaning only for counts above D.
// Costs `sizes` Frechet distances: with n = 50,000 and D = 2,048 on average 27,500 D^2 + 7 D^3 operations each; memory: one copy of
// the features. ShapeError unless n >= 20 and the widths agree; ConfigError unless sizes >= 2. Error names the first row that is not
// finite.
FrechetLimit frechet_infinity(const Tensor& generated, const FrechetReference& reference, std::uint32_t seed = 2020, int sizes = 15);

// The smallest count of n samples: min(5000, max(2, n/10)).
std::int64_t smallest_of_limit(std::int64_t n);

struct FrechetError {
  double deviation = 0;          // standard error of the distance of all n samples
  double mean_of_halves = 0;     // mean distance of the halves, above the distance of all samples by the bias of n/2 samples
  int halves = 0;
};

// Standard error of the Frechet distance by random halves. With h = n/2 rows drawn without replacement, the standard deviation of the
// distances of `halves` such subsets, times sqrt(h / (n - h)), estimates the standard deviation of the distance of n new samples (Shao and
// Wu 1989: the jackknife that deletes n - h rows). Its own relative error is about 1/sqrt(2 (halves - 1)): 16 % for 20.
// It covers the randomness of the generated samples alone. It does not cover the bias (slope / n above), the finite reference, or another
// training run. It assumes that n/2 samples behave as n do, which is wrong for n/2 < D.
// Costs `halves` Frechet distances of n/2 samples. ShapeError unless n >= 4 and the widths agree; ConfigError unless halves >= 2. Error
// names the first row that is not finite.
FrechetError frechet_error(const Tensor& generated, const FrechetReference& reference, int halves = 20, std::uint32_t seed = 2020);

}  // namespace fm
