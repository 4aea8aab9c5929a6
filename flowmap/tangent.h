// Guards: limits on a derivative before it enters a target, and on the correction g = target - u. By default all guards are off, which leaves the
// equation unchanged.
//
//   warmup          factor of (t-s) dudt: 0 is flow matching, 1 the full objective. With warmup_over the factor rises linearly from 0 to this value over
//                   the first steps of a training and stays there (AYF: 0.99)
//   clamp           elements of dudt are cut to [-clamp, clamp]
//   mask            rows whose dudt is not finite get weight 0 in the loss (rCM); masked_share reports them
//   clamp_residual  elements of g are cut to [-clamp_residual, clamp_residual] (FACM: 1). This limits single elements; a metric only weighs whole rows
//   normalise       c: the cut g is replaced by g / (|g| + c), so a g of 0 stays 0 (sCM, AYF: c = 0.1). |g| is the norm of the row. With
//                   norm = "rms" |g| is divided by the root of the row's number of elements, so that c means the same in all shapes
#pragma once

#include <string>

#include "autodiff/var.h"
#include "flowmap/schedule.h"
#include "nn/config/visit.h"
#include "tensor/late.h"

namespace fm {

struct TangentPolicy {
  double warmup = 1;
  double warmup_over = 0;
  double clamp = 0;
  double clamp_residual = 0;
  double normalise = 0;
  std::string norm = "row";
  bool mask = false;
  template <class V> void visit(V&& v) {
    v("warmup", warmup, "factor of the derivative term, 0 (flow matching) to 1 (the whole objective); with warmup_over it rises from 0 to this value", range(0, 1));
    v("warmup_over", warmup_over,
      "time in which the derivative term's factor rises from 0 to warmup, as a share of the training; above 1: in steps; 0: no rise",
      at_least(0));
    v("clamp", clamp, "absolute value to which elements of the derivative are cut; 0: no cut", at_least(0));
    v("clamp_residual", clamp_residual, "absolute value to which elements of the correction g = target - u are cut; 0: no cut", at_least(0));
    v("normalise", normalise, "constant c: the correction g = target - u is replaced by g / (|g| + c); 0: g is not replaced", at_least(0));
    v("norm", norm, "norm |g| in g / (|g| + c): the root of the sum (row) or of the mean (rms) of a row's squares", one_of({"row", "rms"}));
    v("mask", mask, "weight 0 in the loss for rows whose derivative is not finite; false: no check");
  }

  // The factor of the derivative at a step of a training.
  Ramp schedule() const;
};

struct GuardedTangent {
  Tensor dudt;                           // after mask, clamp and warm-up; undefined if the batch has no derivative
  Tensor weight;                         // (rows): 0 for masked rows, else 1; undefined without `mask`
  Late masked_share = 0;                 // share of masked rows, of those with a derivative
  Late clamped_share = 0;                // share of elements that the clamp has cut
};

// Applies mask, clamp and warm-up to dudt, which covers the first rows of a batch of `rows`. `warmup`: the factor of each row at this step. Error if
// `warmup` is undefined although policy.warmup_over > 0.
GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy, const Tensor& warmup = {});

// Returns g / (|g| + c) of each row. `norm` is the setting of TangentPolicy, and c > 0.
Tensor normalised(const Tensor& g, double c, const std::string& norm = "row");

// Applies clamp_residual and normalise to the correction g. guarded_target() applies them to target - u and then adds u. If both guards are off, g and
// target are returned unchanged.
Tensor guarded_correction(const Tensor& g, const TangentPolicy& policy);
Tensor guarded_target(const Tensor& target, const Tensor& u, const TangentPolicy& policy);

// |dudt| / |u| of each row that has a derivative, a measure of the network's stiffness in time. Rows of u beyond dudt's are ignored.
Tensor derivative_ratio(const Tensor& dudt, const Tensor& u);

}  // namespace fm
