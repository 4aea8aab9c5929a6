// The value of group norm with an affine part and SiLU, one group of one image at a time (GroupNorm in args.h). Its derivatives are composed of other
// operations (tensor/ops/group_norm.cpp).
#pragma once

#include "tensor/kernels/rows/norm.h"

namespace fm::rows {

template <class Lane, class T, class S, class X>
FM_HD void group_norm_value(Lane lane, const GroupNorm<T, X>& a, std::int64_t r, S* y_all) {
  const std::int64_t n = a.channels * a.pixels, first = r % a.groups * a.channels;
  const auto x = read(a.x + r * n);
  const auto y = write(y_all + r * n);
  const NormStatistics<T> s = norm_statistics<true>(lane, n, x, a.eps);
  lane.once([&] {
    a.mean[r] = s.mean;
    a.rstd[r] = s.rstd;
  });
  for (std::int64_t c = 0; c < a.channels; ++c) {
    const auto from = x + c * a.pixels;
    const auto to = y + c * a.pixels;
    const T mean = s.mean, w = s.rstd * (a.weight ? a.weight[first + c] : T(1)), b = a.bias ? a.bias[first + c] : T(0);
    if (a.silu)
      lane.each(a.pixels, [&](std::int64_t i) {
        const T z = (from[i] - mean) * w + b;
        to[i] = z * math::sigmoid(z);
      });
    else
      lane.each(a.pixels, [&](std::int64_t i) { to[i] = (from[i] - mean) * w + b; });
  }
}

}  // namespace fm::rows
