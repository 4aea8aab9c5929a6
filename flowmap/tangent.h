// Guards limit a derivative before it enters a target, and the correction g = target - u. All are off by default and then leave the equation unchanged.
//
//   warmup          factor of (t-s) dudt: 0 is flow matching, 1 the full objective. With warmup_over the factor rises linearly from 0 to this value over
//                   the first steps of a training and stays there (AYF: 0.99)
//   clamp           elements of dudt are cut to [-clamp, clamp]
//   mask            rows whose dudt is not finite get weight 0 in the loss (rCM); masked_share reports them
//   clamp_residual  elements of g are cut to [-clamp_residual, clamp_residual] (FACM: 1). This limits single elements; a metric only weighs whole rows
//   normalise       c: the cut g is replaced by g / (|g| + c), which keeps g = 0 (sCM, AYF: c = 0.1). |g| is the norm of the row. With
//                   norm = "rms" it is divided by the root of the row's number of elements, so that c means the same in all shapes
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
    v("clamp", clamp, "largest absolute value of the derivative's elements; 0: no limit", at_least(0));
    v("clamp_residual", clamp_residual, "largest absolute value of the correction's elements; 0: no limit", at_least(0));
    v("normalise", normalise, "constant c of g / (|g| + c), which replaces the correction g; 0: off", at_least(0));
    v("norm", norm, "norm |g| in g / (|g| + c): the norm of a row (row), or that divided by the root of its number of elements (rms)", one_of({"row", "rms"}));
    v("mask", mask, "zero weight in the loss for rows whose derivative is not finite; false: not checked");
  }

  // The factor of the derivative at a step of a training.
  Ramp schedule() const;
};

struct GuardedTangent {
  Tensor dudt;                           // after mask, clamp and warm-up; undefined if the batch has no derivative
  Tensor weight;                         // (rows): 0 for masked rows, else 1; undefined without `mask`
  Late masked_share = 0;                 // of rows with a derivative
  Late clamped_share = 0;                // of elements
};

// Applies mask, clamp and warm-up to dudt, which covers the first of all `rows`. `warmup`: the factor of each row at this step. Error if it is undefined
// although policy.warmup_over > 0.
GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy, const Tensor& warmup = {});

// g / (|g| + c) of each row, |g| by `norm`. c > 0.
Tensor normalised(const Tensor& g, double c, const std::string& norm = "row");

// Applies clamp_residual and normalise to the correction g. guarded_target() does so to target - u and adds u again. If both guards are off, g and target
// are returned unchanged.
Tensor guarded_correction(const Tensor& g, const TangentPolicy& policy);
Tensor guarded_target(const Tensor& target, const Tensor& u, const TangentPolicy& policy);

// |dudt| / |u| of each row that has a derivative, a measure of the network's stiffness in time. Rows of u beyond dudt's are ignored.
Tensor derivative_ratio(const Tensor& dudt, const Tensor& u);

}  // namespace fm
