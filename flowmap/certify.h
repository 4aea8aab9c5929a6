// Closed-form checks of an objective, in f64: what its minimum is, whatever its derivation says.
//
//   residual     data from a Gaussian of 3 numbers, the network its exact flow map, w and the teacher its exact velocity, 4,096 rows as the objective
//                draws them: the largest mean square of a row's residual. 0 for an objective whose equation holds for the flow map.
//   gradient     w = eps - z0, the network u* + theta phi around the exact map u*: the expected gradient in theta at 0, over data and noise, by
//                quadrature at fixed times. A residual of 0 does not replace it: with w = eps - z0 no residual is 0, and the minimum is where this is.
//                On a Gaussian, and on a mixture of two: a metric that weighs rows by their residual is biased there alone, for a Gaussian's
//                residuals are symmetric.
//
// phi = sin(1.3 z + .4) + .3 z^2 + .2 (t-s) z + .1 t.  Each row has a theta of its own, so that one backward pass gives every row's gradient, and
// quadrature weighs them afterwards. An objective whose rows belong together (needs().group) has no quadrature: its gradient is a mean over drawn
// groups, with a standard error, in which a small bias may be lost.
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
  // What the gradient at theta = 0.1 is, largest over times, where that is below 1; else 1. A loss that is scaled down is as biased as before.
  double scale = 1;

  bool exact() const { return residual < 1e-24; }
  bool unbiased() const { return error == 0 && largest(gaussian) < 1e-12 * scale && largest(mixture) < 1e-6 * scale; }     // a mixture's map is integrated
  // A difference of 0.005 in place of a derivative gives 3e-5 and more (TiM), the quadrature's own error is below 1e-6.
  bool biased() const { return largest(gaussian) > (error > 0 ? 3 * error : 1e-5 * scale) || largest(mixture) > 1e-5 * scale; }
};

// At the end of the objective's schedules, without labels, or with labels that change nothing where it guides by them. Each takes a second or less, but for the mixture's: some seconds where tangents are taped.
Certificate certify(const Objective& objective);
// Its parts, for objectives whose needs() say data and velocity.
double largest_residual(const Objective& objective);
std::vector<Bias> bias_on_gaussian(const Objective& objective);
std::vector<Bias> bias_on_mixture(const Objective& objective);
double gradient_scale(const Objective& objective);

// The entry of this name with the settings of `config`, but nothing it makes is cut: a limit that is reached in the tails alone is no bias to speak of.
Objective without_clamps(ObjectiveConfig config, const std::string& name);

// Objectives with a known fault that claim to have none: the checks must find each of them.
std::vector<std::pair<std::string, Objective>> negative_controls();

// Whether it is as the objective claims; a line that says what is not, empty if all is.
std::string contradiction(const Claims& claims, const Certificate& found);

// n nodes and weights of Gauss-Hermite quadrature for N(0, 1): sum w f(x) = E f exactly for polynomials of degree 2n - 1. n up to 200.
struct Quadrature {
  std::vector<double> nodes, weights;
};
Quadrature normal_quadrature(int n);

}  // namespace fm
