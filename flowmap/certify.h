// Closed-form checks of an objective's minimum, in f64, independent of its derivation.
//
//   residual     data from a Gaussian of 3 numbers, the network its exact flow map, w and the teacher its exact velocity, 4,096 rows as the objective
//                draws them: the largest mean square of a row's residual. 0 for an objective whose equation holds for the flow map.
//   gradient     w = eps - z0, the network u* + theta phi around the exact map u*: the expected gradient in theta at 0, over data and noise, by
//                quadrature at fixed times. A residual of 0 does not replace it: with w = eps - z0 no residual is 0, and this gradient decides the minimum.
//                It is taken on a Gaussian and on a mixture of two. A metric that weighs rows by their residual is biased on the mixture alone, because
//                a Gaussian's residuals are symmetric.
//
// phi = sin(1.3 z + .4) + .3 z^2 + .2 (t-s) z + .1 t.  Each row has its own theta, so one backward pass gives every row's gradient, and
// quadrature weighs them afterwards. An objective whose rows belong together (needs().group) has no quadrature: its gradient is a mean over random
// groups, with a standard error, which can hide a small bias.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "flowmap/objective/list.h"

namespace fm {

// |expected gradient| at times (s, t).
struct Bias {
  double s, t, gradient;
};
double largest(const std::vector<Bias>& found);            // infinity where one is not finite; 0 for none

struct Certificate {
  double residual = -1;                  // mean square
  std::vector<Bias> gaussian, mixture;   // empty: the objective takes no velocities, or (mixture) its rows belong together
  double error = 0;                      // standard error of a gradient that is a mean over drawn groups; 0: quadrature
  // The gradient at theta = 0.1, largest over times, if below 1; else 1. Scales the tolerance: a loss that is scaled down is as biased as before.
  double scale = 1;

  bool exact() const { return residual < 1e-24; }
  bool unbiased() const { return error == 0 && largest(gaussian) < 1e-12 * scale && largest(mixture) < 1e-6 * scale; }     // a mixture's map is integrated
  // A difference of 0.005 in place of a derivative gives 3e-5 and more (TiM), the quadrature's own error is below 1e-6.
  bool biased() const { return largest(gaussian) > (error > 0 ? 3 * error : 1e-5 * scale) || largest(mixture) > 1e-5 * scale; }
};

// Evaluated at the end of the objective's schedules, without labels, or with labels without effect if the objective guides by them. Takes up to a second; some seconds for the mixture with taped tangents.
Certificate certify(const Objective& objective);
// The two parts, for objectives whose needs() include data and velocity.
double largest_residual(const Objective& objective);
std::vector<Bias> bias_on_gaussian(const Objective& objective);
std::vector<Bias> bias_on_mixture(const Objective& objective);
double gradient_scale(const Objective& objective);

// The entry of this name with the settings of `config`, but without clamps: a limit that only tails reach causes no relevant bias.
Objective without_clamps(ObjectiveConfig config, const std::string& name);

// Objectives with a known fault that claim to have none: the checks must find each of them.
std::vector<std::pair<std::string, Objective>> negative_controls();

// Compares the objective's claims with the findings. Returns one line about the first contradiction, or an empty text.
std::string contradiction(const Claims& claims, const Certificate& found);

// n nodes and weights of Gauss-Hermite quadrature for N(0, 1): sum w f(x) = E f exactly for polynomials of degree 2n - 1. n up to 200.
struct Quadrature {
  std::vector<double> nodes, weights;
};
Quadrature normal_quadrature(int n);

}  // namespace fm
