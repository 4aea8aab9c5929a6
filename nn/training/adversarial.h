// Losses of a generator G and a discriminator D, and the weight that balances an adversarial term against a reconstruction term (VQGAN, Esser et al.
// 2021; sources: mfrae.md 3.2, 3.3). D returns several scores for each image; all means are over all scores.
//
//   hinge      L_D = (mean relu(1 - D(x)) + mean relu(1 + D(x')))/2          L_G = -mean D(x')
//   vanilla    L_D = (mean log(1 + e^-D(x)) + mean log(1 + e^D(x')))/2       L_G = mean log(1 + e^-D(x'))
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autodiff/var.h"
#include "tensor/late.h"

namespace fm {

// The two terms of L_D, for scores of real images and of reconstructions, each with its factor 1/2. `kind` is "hinge" or "vanilla", else ConfigError.
Var loss_of_real(const std::string& kind, const Var& scores);
Var loss_of_fake(const std::string& kind, const Var& scores);
// L_G.
Var loss_of_generator(const std::string& kind, const Var& scores);

// Rounds images in [-1, 1] to the 256 values of stored images: round((clamp(x, -1, 1) + 1) 127.5)/127.5 - 1, halves to even.
Tensor rounded_to_bytes(const Tensor& images);

// A loss L = R + scale w A of the last layer's input `rows`, with w = clamp(|dR/dW| / (|dA/dW| + 1e-6), 0, 1e4), W = *last.front(). w has no gradient.
struct BalancedLoss {
  Var loss;
  Tensor first, second, weight;          // R, A, w: scalars
};
using LossOfRows = std::function<Var(const Var& rows)>;

// Computes R and A on tapes of their own, with backward passes to `rows` and to the parameters `last` of the layer; the returned loss passes the weighted sums
// of both gradients on. A single tape would go through R and A once for the norms and again for the sum. This way the only additional work is a second pass
// forward and backward through the last layer. The two graphs do not exist at the same time. AutodiffError if R or A has a gradient for a parameter that is
// not in `last`.
BalancedLoss balanced_loss(const Var& rows, const std::vector<const Parameter*>& last, const LossOfRows& first, const LossOfRows& second, double scale);

}  // namespace fm
