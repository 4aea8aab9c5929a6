// Two gates of transformer blocks, one row at a time.
//   SwiGLU (Shazeer 2020, arXiv:2002.05202): x = (a, b) of 2 H columns, y = silu(a) b; the sigmoid is recomputed in push and pull.
//   gated residual: y = x + gate h, gate by modulation row (adaLN-zero of DiT, arXiv:2212.09748).
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/kernels/rows/half.h"
#include "tensor/math.h"

namespace fm::rows {

// The type in which an element of S is computed.
template <class S> using Computed = std::remove_cvref_t<decltype(+read(static_cast<const S*>(nullptr))[0])>;

template <class Lane, class S> FM_HD void swiglu_value(Lane lane, std::int64_t n, const S* x_row, S* y_row) {
  const auto x = read(x_row), b = read(x_row + n);
  const auto y = write(y_row);
  lane.each(n, [&](std::int64_t i) { y[i] = x[i] * math::sigmoid(x[i]) * b[i]; });
}

// silu'(a) = s (1 + a (1 - s)) with s = sigmoid(a).
template <class Lane, class S> FM_HD void swiglu_push(Lane lane, std::int64_t n, const S* x_row, const S* dx_row, S* dy_row) {
  using T = Computed<S>;
  const auto x = read(x_row), b = read(x_row + n), dx = read(dx_row), db = read(dx_row + n);
  const auto dy = write(dy_row);
  lane.each(n, [&](std::int64_t i) {
    const T a = x[i];
    const auto s = math::sigmoids(a);
    dy[i] = s.sigmoid * ((T(1) + a * s.rest) * b[i] * dx[i] + a * db[i]);
  });
}

template <class Lane, class S> FM_HD void swiglu_pull(Lane lane, std::int64_t n, const S* x_row, const S* gy_row, S* gx_row) {
  using T = Computed<S>;
  const auto x = read(x_row), b = read(x_row + n), gy = read(gy_row);
  const auto gx = write(gx_row), gb = write(gx_row + n);
  lane.each(n, [&](std::int64_t i) {
    const T a = x[i];
    const auto s = math::sigmoids(a);
    const T g = gy[i] * s.sigmoid;
    gx[i] = g * (T(1) + a * s.rest) * b[i];
    gb[i] = g * a;
  });
}

template <class Lane, class S, class X> FM_HD void gated_value(Lane lane, const Gated<S, X>& a, std::int64_t r, X* y_all) {
  const auto x = read(a.x + r * a.width);            // its type may differ from that of h
  const auto h = read(a.h + r * a.width), gate = read(a.gate + r / a.modulation.share * a.modulation.ld);
  const auto y = write(y_all + r * a.width);
  lane.each(a.width, [&](std::int64_t i) { y[i] = x[i] + gate[i] * h[i]; });
}

// dy = dx + gate dh + dgate h; any tangent may be null.
template <class Lane, class S, class X>
FM_HD void gated_push(Lane lane, const Gated<S, X>& a, std::int64_t r, const X* dx_all, const S* dh_all, const S* dgate_all, std::int64_t ld,
                      X* dy_all) {
  using T = Computed<S>;
  const std::int64_t n = a.width, m = r / a.modulation.share;
  const auto h = read(a.h + r * n), gate = read(a.gate + m * a.modulation.ld);
  const auto dy = write(dy_all + r * n);
  const auto dx = read(dx_all ? dx_all + r * n : nullptr);
  const auto dh = read(dh_all ? dh_all + r * n : nullptr);
  if (dx_all && dh_all) lane.each(n, [&](std::int64_t i) { dy[i] = dx[i] + gate[i] * dh[i]; });
  else if (dx_all) lane.each(n, [&](std::int64_t i) { dy[i] = dx[i]; });
  else if (dh_all) lane.each(n, [&](std::int64_t i) { dy[i] = gate[i] * dh[i]; });
  else lane.each(n, [&](std::int64_t i) { dy[i] = T(0); });
  if (!dgate_all) return;
  const auto dgate = read(dgate_all + m * ld);
  lane.each(n, [&](std::int64_t i) { dy[i] += dgate[i] * h[i]; });
}

// gh = gate gy; ggate = sum of gy h over the rows that share the gate, in row order. One call computes group m of rows. gh or ggate may be null.
// (gx = gy needs no kernel.)
template <class Lane, class T, class S, class X>
FM_HD void gated_pull_group(Lane lane, const Gated<S, X>& a, std::int64_t m, const X* gy_all, S* gh_all, T* ggate_all, std::int64_t ld) {
  const std::int64_t n = a.width, begin = m * a.modulation.share;
  const std::int64_t end = begin + a.modulation.share < a.rows ? begin + a.modulation.share : a.rows;
  const auto gate = read(a.gate + m * a.modulation.ld);
  for (std::int64_t r = begin; r < end; ++r) {
    const auto gy = read(gy_all + r * n);
    const auto h = read(a.h + r * n);
    if (gh_all) {
      const auto gh = write(gh_all + r * n);
      lane.each(n, [&](std::int64_t i) { gh[i] = gate[i] * gy[i]; });
    }
    if (!ggate_all) continue;
    T* ggate = ggate_all + m * ld;
    if (r == begin) lane.each(n, [&](std::int64_t i) { ggate[i] = gy[i] * h[i]; });
    else lane.each(n, [&](std::int64_t i) { ggate[i] += gy[i] * h[i]; });
  }
}

}  // namespace fm::rows
