// Inductive Moment Matching (IMM; Zhou et al. 2025): jumps to s from two neighboring times t and r must give the same distribution of samples.
//
//   y = f_{t->s}(z_t),   y' = sg f_{r->s}(z_r),   s <= r < t,   z_t and z_r of the same z0 and eps
//   weight(t) mean_{jk} [ k(y_j, y_k) - 2 k(y_j, y'_k) + k(y'_j, y'_k) ]       over a group of M rows with the same (s, r, t)
//   k(a, b) = exp( -max(|a - b|, 1e-8) / (D c_out) ),   D elements per row, |.| the root of their sum of squares
//
//   t uniform in [low, high], s in [low, t];   r = max(s, eta / (1 + eta)),   eta = t/(1-t) - 160 / 2^halvings
//   weight = sigmoid(b - l)/2 (-dl/dt) (1-t)^a / ((1-t)^2 + t^2),   l = 2 log((1-t)/t)
//          = t (1-t)^(a-1) / [ (t^2 + e^-b (1-t)^2) ((1-t)^2 + t^2) ]
//   c_out = t, or deviation t / sqrt((1-t)^2 + t^2) as with EDM's parameters (the paper's data have deviation 0.5)
//
// The minimum is not the flow map but any map with the right samples, so evaluate a network by its samples, not by the error of its map. At the true map
// the terms of two members (j != k) have an expected gradient of 0. The terms j = k have a bias, which falls with 1/M and with t - r.
// No velocity is used: f_{t->t} = z holds by construction. The kernel does not use labels; the terms j = k tie a row to its own label.
// Samplers begin at 1 and end at 0, both outside [low, high], where the network extrapolates.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct ImmConfig {
  std::int64_t group = 4;                // M
  std::int64_t halvings = 12;            // the paper: 15 for CIFAR-10, 12 for ImageNet
  double low = 0.006, high = 0.994;
  double power = 1, bias = 5;            // a and b of the weight; a = 2 for ImageNet
  std::string scale = "time";
  double deviation = 1;
  LabelDropout labels;
  template <class V> void visit(V&& v) {
    v("group", group, "number of rows in a group; they share their times and are matched together; batch and micro_batch must be multiples of it",
      range(1, 4096));
    v("halvings", halvings, "halvings of the distance between the two times, which is 160 / 2^halvings in sigma = t / (1-t)", range(0, 60));
    v("low", low, "smallest time", range(1e-6, 0.9999));
    v("high", high, "largest time", range(1e-6, 0.9999));
    v("power", power, "exponent a of the factor (1-t)^a in the weight of a row", range(1, 100));
    v("bias", bias, "bias b of the weight's sigmoid(b - 2 log((1-t) / t))");
    v("scale", scale, "factor of the kernel's width: t (time), or deviation t / sqrt((1-t)^2 + t^2), as with EDM's parameters (edm)", one_of({"time", "edm"}));
    v("deviation", deviation, "standard deviation of the data, which scale edm uses", above(0));
    v("labels", labels, "label dropout");
  }

  static constexpr std::string_view name = "imm", says = "jumps from two neighboring times give the same distribution of samples (Inductive Moment Matching)";
  Needs needs() const;
  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError if low >= high.
  void check(const std::string& keys, std::int64_t steps) const;
};

// Draws the times of a batch, one pair (s, t) per group. The group is sample number / M, so it has the same times in any part of a batch. ShapeError
// unless the rows are whole groups, in order.
Pairs draw_groups(const ImmConfig& config, const Draws& draws);

// The loss at points whose groups share their times. `raw` is a group's squared distance divided by M, in each row of the group.
ObjectiveLoss imm(const FlowMapNet& net, const PathBatch& p, const ImmConfig& config);

}  // namespace fm
