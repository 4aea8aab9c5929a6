// What may be done to a derivative before it enters a target. All off by default: the equation as it stands.
//
//   warmup     (t-s) dudt is multiplied by it: 0 is flow matching, 1 the full objective (sCM and AYF raise it over the first steps)
//   clamp      elements of dudt are cut to [-clamp, clamp]
//   mask       rows whose dudt is not finite get no weight in the loss (rCM); they are counted
//   normalise  the whole correction g = y - u is replaced by g / (|g| + c), |g| the row's norm: the fixed point stays (sCM, AYF:
//              c = 0.1)
#pragma once

#include "autodiff/var.h"
#include "nn/config/visit.h"
#include "tensor/late.h"

namespace fm {

struct TangentPolicy {
  double warmup = 1;
  double clamp = 0;
  double normalise = 0;
  bool mask = false;
  template <class V> void visit(V&& v) {
    v("warmup", warmup, "factor of the derivative term", range(0, 1));
    v("clamp", clamp, "largest element of the derivative; 0: no limit", at_least(0));
    v("normalise", normalise, "c of g / (|g| + c) for the correction; 0: off", at_least(0));
    v("mask", mask, "leave out rows whose derivative is not finite");
  }
};

struct GuardedTangent {
  Tensor dudt;                           // finite, cut and scaled; undefined if there was none
  Tensor weight;                         // (rows): 0 for rows left out, else 1; undefined without `mask`
  Late masked_rows = 0;
  Late clamped_share = 0;                // of elements
};

GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy);

// u + g / (|g| + c) with g = target - u; the target itself if c is 0.
Tensor normalised_target(const Tensor& target, const Tensor& u, double c);

// |dudt| / |u| of each row that has a derivative: how stiff the network is in time. u is cut to dudt's rows.
Tensor derivative_ratio(const Tensor& dudt, const Tensor& u);

}  // namespace fm
