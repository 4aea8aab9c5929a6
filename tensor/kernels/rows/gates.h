// Two gates of transformer blocks, one row at a time.
//   SwiGLU (Shazeer 2020, arXiv:2002.05202): x = (a, b) of 2 H columns, y = silu(a) b; the sigmoid is recomputed in push and pull.
//   gated residual: y = x + gate h, gate by modulation row (adaLN-zero of DiT, arXiv:2212.09748).
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/math.h"

namespace fm::rows {

template <class Lane, class T> FM_HD void swiglu_value(Lane lane, std::int64_t n, const T* x, T* y) {
  const T* b = x + n;
  lane.each(n, [&](std::int64_t i) { y[i] = x[i] * math::sigmoid(x[i]) * b[i]; });
}

// silu'(a) = s (1 + a (1 - s)) with s = sigmoid(a).
template <class Lane, class T> FM_HD void swiglu_push(Lane lane, std::int64_t n, const T* x, const T* dx, T* dy) {
  const T *b = x + n, *db = dx + n;
  lane.each(n, [&](std::int64_t i) {
    const T a = x[i], s = math::sigmoid(a);
    dy[i] = s * ((T(1) + a * (T(1) - s)) * b[i] * dx[i] + a * db[i]);
  });
}

template <class Lane, class T> FM_HD void swiglu_pull(Lane lane, std::int64_t n, const T* x, const T* gy, T* gx) {
  const T* b = x + n;
  T* gb = gx + n;
  lane.each(n, [&](std::int64_t i) {
    const T a = x[i], s = math::sigmoid(a), g = gy[i] * s;
    gx[i] = g * (T(1) + a * (T(1) - s)) * b[i];
    gb[i] = g * a;
  });
}

template <class Lane, class T> FM_HD void gated_value(Lane lane, const Gated<T>& a, std::int64_t r, T* y_all) {
  const T *x = a.x + r * a.width, *h = a.h + r * a.width, *gate = a.gate + r / a.modulation.share * a.modulation.ld;
  T* y = y_all + r * a.width;
  lane.each(a.width, [&](std::int64_t i) { y[i] = x[i] + gate[i] * h[i]; });
}

// dy = dx + gate dh + dgate h; any tangent may be null.
template <class Lane, class T>
FM_HD void gated_push(Lane lane, const Gated<T>& a, std::int64_t r, const T* dx_all, const T* dh_all, const T* dgate_all, std::int64_t ld,
                      T* dy_all) {
  const std::int64_t n = a.width, m = r / a.modulation.share;
  const T *h = a.h + r * n, *gate = a.gate + m * a.modulation.ld;
  T* dy = dy_all + r * n;
  const T *dx = dx_all ? dx_all + r * n : nullptr, *dh = dh_all ? dh_all + r * n : nullptr;
  if (dx && dh) lane.each(n, [&](std::int64_t i) { dy[i] = dx[i] + gate[i] * dh[i]; });
  else if (dx) lane.each(n, [&](std::int64_t i) { dy[i] = dx[i]; });
  else if (dh) lane.each(n, [&](std::int64_t i) { dy[i] = gate[i] * dh[i]; });
  else lane.each(n, [&](std::int64_t i) { dy[i] = T(0); });
  if (!dgate_all) return;
  const T* dgate = dgate_all + m * ld;
  lane.each(n, [&](std::int64_t i) { dy[i] += dgate[i] * h[i]; });
}

// gh = gate gy; ggate = sum of gy h over the rows that share the gate, in row order. One call does one group of rows; gh or ggate may be
// null. (gx = gy needs no kernel.)
template <class Lane, class T>
FM_HD void gated_pull_group(Lane lane, const Gated<T>& a, std::int64_t m, const T* gy_all, T* gh_all, T* ggate_all, std::int64_t ld) {
  const std::int64_t n = a.width, begin = m * a.modulation.share;
  const std::int64_t end = begin + a.modulation.share < a.rows ? begin + a.modulation.share : a.rows;
  const T* gate = a.gate + m * a.modulation.ld;
  for (std::int64_t r = begin; r < end; ++r) {
    const T *gy = gy_all + r * n, *h = a.h + r * n;
    if (gh_all) {
      T* gh = gh_all + r * n;
      lane.each(n, [&](std::int64_t i) { gh[i] = gate[i] * gy[i]; });
    }
    if (!ggate_all) continue;
    T* ggate = ggate_all + m * ld;
    if (r == begin) lane.each(n, [&](std::int64_t i) { ggate[i] = gy[i] * h[i]; });
    else lane.each(n, [&](std::int64_t i) { ggate[i] += gy[i] * h[i]; });
  }
}

}  // namespace fm::rows
