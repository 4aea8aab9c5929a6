// Closed-form checks of an objective's minimum, in f64, independent of its derivation.
//
//   residual     the largest mean square of a row's residual, over 4,096 rows that the objective draws. The data are 3 numbers from a Gaussian, the network
//                is their exact flow map, and w and the teacher are their exact velocity. It is 0 if the objective's equation holds for the flow map.
//   gradient     the expected gradient in theta at theta = 0, over data and noise, by quadrature at fixed times. The network is u* + theta phi around the
//                exact map u*, and w = eps - z0. With this w no residual is 0, so the expected gradient decides whether u* is the minimum.
//                It is computed on a Gaussian and on a mixture of two Gaussians. A metric that weighs rows by their residual is biased on the mixture
//                alone, because a Gaussian's residuals are symmetric.
//
// phi = sin(1.3 z + .4) + .3 z^2 + .2 (t-s) z + .1 t.  Each row has its own theta, so one backward pass gives every row's gradient, which
// quadrature then weighs. An objective whose rows form groups (needs().group) has no quadrature: its gradient is a mean over random
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
double largest(const std::vector<Bias>& found);            // the largest gradient; infinity if one is not finite; 0 if `found` is empty

struct Certificate {
  double residual = -1;                  // mean square
  std::vector<Bias> gaussian, mixture;   // both empty: the objective calls no velocity source; only mixture empty: its rows form groups
  double error = 0;                      // standard error of a gradient that is a mean over random groups; 0: quadrature
  // min(1, the largest gradient over all times at theta = 0.1). Tolerances are multiplied by it, because scaling a loss down does not reduce its bias.
  double scale = 1;

  bool exact() const { return residual < 1e-24; }
  bool unbiased() const { return error == 0 && largest(gaussian) < 1e-12 * scale && largest(mixture) < 1e-6 * scale; }     // 1e-6: u is integrated
  // A finite difference of 0.005 in place of a derivative (TiM) gives gradients of 3e-5 or more. The error of the quadrature is below 1e-6.
  bool biased() const { return largest(gaussian) > (error > 0 ? 3 * error : 1e-5 * scale) || largest(mixture) > 1e-5 * scale; }
};

// Makes all checks, with the objective's schedules at their last step. The batches have no labels or, if the objective needs labels, labels that do not change
// the network's output. Takes up to a second, or a few seconds for the mixture with taped tangents.
Certificate certify(const Objective& objective);
// The parts of a certificate. All but largest_residual() are for objectives that need data and a velocity source.
double largest_residual(const Objective& objective);
std::vector<Bias> bias_on_gaussian(const Objective& objective);
std::vector<Bias> bias_on_mixture(const Objective& objective);
double gradient_scale(const Objective& objective);

// Returns the objective `name` with the settings of `config`, but with its setting `clamp` at 0. Only the tails of the distribution reach the clamp's
// limit, so the clamp causes no relevant bias.
Objective without_clamps(ObjectiveConfig config, const std::string& name);

// Objectives with a known fault that claim to have none. The checks must find each fault.
std::vector<std::pair<std::string, Objective>> negative_controls();

// Compares the objective's claims with the findings. Returns one line about the first contradiction, or an empty text.
std::string contradiction(const Claims& claims, const Certificate& found);

// The n nodes x and weights w of Gauss-Hermite quadrature for N(0, 1): sum w f(x) = E f exactly for polynomials f of degree 2n - 1. n is 1 to 200.
struct Quadrature {
  std::vector<double> nodes, weights;
};
Quadrature normal_quadrature(int n);

}  // namespace fm
