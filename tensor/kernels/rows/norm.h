// Layer norm and RMS norm with fused affine and modulation, one row at a time (see Norm in args.h):
//   h = (x - mean) rstd,  u = h w + b,  y = u (1 + scale) + shift
//   push: dh = rstd (dx - mean(dx) - h mean(h dx)),  dy = (dh w + h dw + db) (1 + scale) + u dscale + dshift
//   pull: gu = gy (1 + scale),  gh = gu w,  gx = rstd (gh - mean(gh) - h mean(h gh)),
//         gscale = sum gy u,  gshift = sum gy,  gweight = sum gu h,  gbias = sum gu
// RMS norm drops the means of dx and gh. A Lane (cpu/lane.h) supplies sum, each and once.
#pragma once

#include <type_traits>

#include "tensor/kernels/rows/args.h"
#include "tensor/kernels/rows/half.h"
#include "tensor/math.h"

namespace fm::rows {

// Calls f(a_, b_) with two compile-time flags equal to a and b, so that the loops inside have no tests.
template <bool b> struct Flag { static constexpr bool value = b; };
template <class F> FM_HD void with_flags(bool a, bool b, F f) {
  if (a) {
    if (b) f(Flag<true>{}, Flag<true>{});
    else f(Flag<true>{}, Flag<false>{});
  } else {
    if (b) f(Flag<false>{}, Flag<true>{});
    else f(Flag<false>{}, Flag<false>{});
  }
}

template <class T> FM_HD const T* modulation_row(const T* base, const Modulation& m, std::int64_t r) {
  return base ? base + r / m.share * m.ld : nullptr;
}

template <class T> struct NormStatistics {
  T mean, rstd;            // mean: 0 for RMS norm
};

// Statistics in double, for rows whose squares exceed the range of f32. NaN and infinities stay unchanged.
template <bool centred, class Lane, class X> FM_HD NormStatistics<float> wide_norm_statistics(Lane lane, std::int64_t n, const X& x, float eps) {
  double mean = 0;
  if constexpr (centred) mean = lane.sum(n, [&](std::int64_t i) { return static_cast<double>(float(x[i])); }) / static_cast<double>(n);
  const double var = lane.sum(n, [&](std::int64_t i) {
    const double d = static_cast<double>(float(x[i])) - mean;
    return d * d;
  }) / static_cast<double>(n);
  return {static_cast<float>(mean), static_cast<float>(math::rsqrt(var + static_cast<double>(eps)))};
}

// Computes the statistics of a row in two passes. If the mean is far larger than the deviation, the rounding of the sum is a large part of the
// deviation: then the mean of x - mean is added to the mean.
template <bool centred, class Lane, class X, class T> FM_HD NormStatistics<T> norm_statistics(Lane lane, std::int64_t n, const X& x, T eps) {
  T mean = T(0);
  if constexpr (centred) mean = lane.sum(n, [&](std::int64_t i) { return x[i]; }) / T(n);
  T var = lane.sum(n, [&](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / T(n);
  if constexpr (centred) {
    if (mean * mean > T(64) * var) {
      mean += lane.sum(n, [&](std::int64_t i) { return x[i] - mean; }) / T(n);
      var = lane.sum(n, [&](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / T(n);
    }
  }
  if constexpr (std::is_same_v<T, float>)
    if (!(var < __builtin_inff())) return wide_norm_statistics<centred>(lane, n, x, eps);
  return {mean, math::rsqrt(var + eps)};
}

template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_value(Lane lane, const Norm<T, S, X>& a, std::int64_t r, S* y_all) {
  const std::int64_t n = a.width;
  const auto x = read(a.x + r * n);
  const auto y = write(y_all + r * n);
  const NormStatistics<T> of_row = norm_statistics<centred>(lane, n, x, a.eps);
  const T mean = of_row.mean, rstd = of_row.rstd;
  lane.once([&] {
    if constexpr (centred) a.mean[r] = mean;
    a.rstd[r] = rstd;
  });
  const T *w = a.weight, *b = a.bias;
  const S *scale_row = modulation_row(a.scale, a.modulation, r), *shift_row = modulation_row(a.shift, a.modulation, r);
  const auto scale = read(scale_row), shift = read(shift_row);
  const auto finish = [&](auto affine) {
    with_flags(scale_row, shift_row, [&](auto has_scale, auto has_shift) {
      lane.each(n, [&](std::int64_t i) {
        T u = affine(i, (x[i] - mean) * rstd);
        if constexpr (has_scale.value) u *= T(1) + scale[i];
        if constexpr (has_shift.value) u += shift[i];
        y[i] = u;
      });
    });
  };
  if (b) finish([&](std::int64_t i, T h) { return h * w[i] + b[i]; });
  else if (w) finish([&](std::int64_t i, T h) { return h * w[i]; });
  else finish([&](std::int64_t, T h) { return h; });
}

template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_push(Lane lane, const Norm<T, S, X>& a, const NormPush<T, S, X>& t, std::int64_t r) {
  const std::int64_t n = a.width;
  const auto x = read(a.x + r * n);
  const auto dy = write(t.dy + r * n);
  const T mean = centred ? a.mean[r] : T(0), rstd = a.rstd[r];
  const T *w = a.weight, *b = a.bias;
  const S* scale_row = modulation_row(a.scale, a.modulation, r);
  const auto scale = read(scale_row);
  const auto h = [&](std::int64_t i) { return (x[i] - mean) * rstd; };
  if (t.dx) {
    const auto dx = read(t.dx + r * n);
    T m1 = T(0);
    if constexpr (centred) m1 = lane.sum(n, [&](std::int64_t i) { return dx[i]; }) / T(n);
    const T m2 = lane.sum(n, [&](std::int64_t i) { return dx[i] * h(i); }) / T(n);
    with_flags(w, scale_row, [&](auto has_weight, auto has_scale) {
      lane.each(n, [&](std::int64_t i) {
        T d = rstd * (dx[i] - m1 - h(i) * m2);
        if constexpr (has_weight.value) d *= w[i];
        if constexpr (has_scale.value) d *= T(1) + scale[i];
        dy[i] = d;
      });
    });
  } else {
    lane.each(n, [&](std::int64_t i) { dy[i] = T(0); });
  }
  // The other tangents are rare (weights) or few (modulation), so each has its own pass over the row, which is in the cache.
  const auto add = [&](auto du) {
    if (scale_row) lane.each(n, [&](std::int64_t i) { dy[i] += du(i) * (T(1) + scale[i]); });
    else lane.each(n, [&](std::int64_t i) { dy[i] += du(i); });
  };
  if (t.dweight) add([&](std::int64_t i) { return h(i) * t.dweight[i]; });
  if (t.dbias) add([&](std::int64_t i) { return t.dbias[i]; });
  const Modulation tangents{a.modulation.share, t.ld};
  if (const S* row = modulation_row(t.dscale, tangents, r)) {
    const auto ds = read(row);
    with_flags(w, b, [&](auto has_weight, auto has_bias) {
      lane.each(n, [&](std::int64_t i) {
        T u = h(i);
        if constexpr (has_weight.value) u *= w[i];
        if constexpr (has_bias.value) u += b[i];
        dy[i] += u * ds[i];
      });
    });
  }
  if (const S* row = modulation_row(t.dshift, tangents, r)) {
    const auto dt = read(row);
    lane.each(n, [&](std::int64_t i) { dy[i] += dt[i]; });
  }
}

template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_pull_x(Lane lane, const Norm<T, S, X>& a, const NormPull<T, S, X>& t, std::int64_t r) {
  const std::int64_t n = a.width;
  const auto x = read(a.x + r * n);                  // its type may differ from that of gy
  const auto gy = read(t.gy + r * n);
  const auto gx = write(t.gx + r * n);
  const T mean = centred ? a.mean[r] : T(0), rstd = a.rstd[r];
  const T* w = a.weight;
  const S* scale_row = modulation_row(a.scale, a.modulation, r);
  const auto scale = read(scale_row);
  T m1 = T(0), m2 = T(0);
  const auto project = [&](auto gh) {
    if constexpr (centred) m1 = lane.sum(n, gh) / T(n);
    m2 = lane.sum(n, [&](std::int64_t i) { return gh(i) * (x[i] - mean); }) * rstd / T(n);
    lane.each(n, [&](std::int64_t i) { gx[i] = rstd * (gh(i) - m1 - (x[i] - mean) * rstd * m2); });
  };
  with_flags(w, scale_row, [&](auto has_weight, auto has_scale) {
    project([&](std::int64_t i) {
      T g = gy[i];
      if constexpr (has_weight.value) g *= w[i];
      if constexpr (has_scale.value) g *= T(1) + scale[i];
      return g;
    });
  });
}

// Adds the contribution of row r to gscale and gshift, or sets them if r is the `first` row of its group.
template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_pull_modulation(Lane lane, const Norm<T, S, X>& a, const NormPull<T, S, X>& t, std::int64_t r, bool first) {
  const std::int64_t n = a.width, m = r / a.modulation.share * t.ld;
  const auto x = read(a.x + r * n);
  const auto gy = read(t.gy + r * n);
  const T *w = a.weight, *b = a.bias;
  const T mean = centred ? a.mean[r] : T(0), rstd = a.rstd[r];
  const auto accumulate = [&](T* out, auto f) {
    if (first) lane.each(n, [&](std::int64_t i) { out[i] = f(i); });
    else lane.each(n, [&](std::int64_t i) { out[i] += f(i); });
  };
  if (t.gshift) accumulate(t.gshift + m, [&](std::int64_t i) -> T { return gy[i]; });
  if (!t.gscale) return;
  if (b) accumulate(t.gscale + m, [&](std::int64_t i) { return gy[i] * ((x[i] - mean) * rstd * w[i] + b[i]); });
  else if (w) accumulate(t.gscale + m, [&](std::int64_t i) { return gy[i] * ((x[i] - mean) * rstd * w[i]); });
  else accumulate(t.gscale + m, [&](std::int64_t i) { return gy[i] * ((x[i] - mean) * rstd); });
}

// Adds the contribution of row r to gw and gb (either may be null).
template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_pull_weight(Lane lane, const Norm<T, S, X>& a, const NormPull<T, S, X>& t, std::int64_t r, T* gw, T* gb) {
  const std::int64_t n = a.width;
  const auto x = read(a.x + r * n);
  const auto gy = read(t.gy + r * n);
  const S* scale_row = modulation_row(a.scale, a.modulation, r);
  const auto scale = read(scale_row);
  const T mean = centred ? a.mean[r] : T(0), rstd = a.rstd[r];
  const auto accumulate = [&](auto gu) {
    if (gw) lane.each(n, [&](std::int64_t i) { gw[i] += gu(i) * ((x[i] - mean) * rstd); });
    if (gb) lane.each(n, [&](std::int64_t i) { gb[i] += gu(i); });
  };
  if (scale_row) accumulate([&](std::int64_t i) { return gy[i] * (T(1) + scale[i]); });
  else accumulate([&](std::int64_t i) -> T { return gy[i]; });
}

// The whole pull for rows [begin, end), which start and end at modulation groups; gw and gb are this block's partial sums (or null).
template <bool centred, class Lane, class T, class S, class X>
FM_HD void norm_pull_block(Lane lane, const Norm<T, S, X>& a, const NormPull<T, S, X>& t, std::int64_t begin, std::int64_t end, T* gw, T* gb) {
  if (gw) lane.each(a.width, [&](std::int64_t i) { gw[i] = T(0); });
  if (gb) lane.each(a.width, [&](std::int64_t i) { gb[i] = T(0); });
  for (std::int64_t r = begin; r < end; ++r) {
    if (t.gx) norm_pull_x<centred>(lane, a, t, r);
    if (t.gscale || t.gshift) norm_pull_modulation<centred>(lane, a, t, r, r % a.modulation.share == 0);
    if (gw || gb) norm_pull_weight<centred>(lane, a, t, r, gw, gb);
  }
}

// Returns the contribution of element i of row r to the sums over rows. For GPUs, where a thread sums one column in registers.
template <class T> struct NormSums {
  T scale, shift, weight, bias;
};
template <bool centred, class T, class S, class X>
FM_HD NormSums<T> norm_pull_element(const Norm<T, S, X>& a, const NormPull<T, S, X>& t, std::int64_t r, std::int64_t i) {
  const S* scale_row = modulation_row(a.scale, a.modulation, r);
  const T x = read(a.x + r * a.width)[i], gy = read(t.gy + r * a.width)[i], h = (x - (centred ? a.mean[r] : T(0))) * a.rstd[r];
  const T u = (a.weight ? h * a.weight[i] : h) + (a.bias ? a.bias[i] : T(0)), gu = scale_row ? gy * (T(1) + read(scale_row)[i]) : gy;
  return {gy * u, gy, gu * h, gu};
}

}  // namespace fm::rows
