// Guards of a derivative before it enters a target, and of the correction g = target - u. All off by default: the unchanged equation.
//
//   warmup          (t-s) dudt is multiplied by it: 0 is flow matching, 1 the full objective. With warmup_over it rises linearly from 0 to this value over
//                   the first steps of a training and stays there (AYF: 0.99)
//   clamp           elements of dudt are cut to [-clamp, clamp]
//   mask            rows whose dudt is not finite get weight 0 in the loss (rCM); they are counted
//   clamp_residual  elements of g are cut likewise. It handles outliers of the target where the metric of a row's g cannot (FACM: 1)
//   normalise       g, after that, is replaced by g / (|g| + c): the fixed point stays (sCM, AYF: c = 0.1). |g| is the row's norm, or with
//                   norm = "rms" that divided by the root of its number of elements, so that c means the same in all shapes
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
    v("warmup", warmup, "factor of the derivative term after its warm-up", range(0, 1));
    v("warmup_over", warmup_over, "warm-up of the derivative term's factor from 0, as a share of the training; above 1: in steps; 0: none",
      at_least(0));
    v("clamp", clamp, "largest element of the derivative; 0: no limit", at_least(0));
    v("clamp_residual", clamp_residual, "largest element of the correction; 0: no limit", at_least(0));
    v("normalise", normalise, "constant c of g / (|g| + c), which replaces the correction g; 0: off", at_least(0));
    v("norm", norm, "norm |g| in g / (|g| + c): of the row, or divided by the root of its number of elements (rms)", one_of({"row", "rms"}));
    v("mask", mask, "no loss from rows whose derivative is not finite");
  }

  // The factor of the derivative at a step of a training.
  Ramp schedule() const;
};

struct GuardedTangent {
  Tensor dudt;                           // finite, cut and scaled; undefined if the batch has no derivative
  Tensor weight;                         // (rows): 0 for rows left out, else 1; undefined without `mask`
  Late masked_share = 0;                 // of rows with a derivative
  Late clamped_share = 0;                // of elements
};

// `warmup` (rows or more): the factor of each row if it is not constant. Error if it rises and is missing.
GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy, const Tensor& warmup = {});

// g / (|g| + c) of each row, |g| by `norm`. c > 0.
Tensor normalised(const Tensor& g, double c, const std::string& norm = "row");

// The correction g under a policy's clamp_residual and normalise, and the target u + g made of it. Returns g itself if both are off.
Tensor guarded_correction(const Tensor& g, const TangentPolicy& policy);
Tensor guarded_target(const Tensor& target, const Tensor& u, const TangentPolicy& policy);

// |dudt| / |u| of each row that has a derivative: how stiff the network is in time. u is cut to dudt's rows.
Tensor derivative_ratio(const Tensor& dudt, const Tensor& u);

}  // namespace fm
