// softmax and log-softmax of a row, and cross-entropy of logits:
//   softmax: y = e^(x - max) / sum;   dy = y (dx - sum(y dx));   gx = y (gy - sum(y gy))
//   log-softmax: y = (x - max) - log sum;  dy = dx - sum(e^y dx) / sum(e^y);  gx = gy - e^y sum(gy) / sum(e^y)
//   cross-entropy: loss = -sum p ((x - max) - log sum);  its gradient in x is softmax(x) sum(p) - p
// with sum = sum(e^(x - max)). max + log sum is never formed: its rounding grows with the offset of the row, and e^(x - lse) would turn that
// into a relative error of every probability. sum(e^y) differs from 1 by the rounding of log sum only; dividing by it gives
// probabilities that add up to 1.
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/math.h"

namespace fm::rows {

template <class Lane, class T> FM_HD void softmax_value(Lane lane, std::int64_t n, const T* x, T* y) {
  const T m = lane.max(n, [&](std::int64_t i) { return x[i]; });
  const T sum = lane.sum(n, [&](std::int64_t i) { return y[i] = math::exp_nonpositive(x[i] - m); });
  const T scale = T(1) / sum;
  lane.each(n, [&](std::int64_t i) { y[i] *= scale; });
}

// Also the pull, because the Jacobian diag(y) - y y^T is symmetric.
template <class Lane, class T> FM_HD void softmax_push(Lane lane, std::int64_t n, const T* y, const T* dx, T* dy) {
  const T dot = lane.sum(n, [&](std::int64_t i) { return y[i] * dx[i]; });
  lane.each(n, [&](std::int64_t i) { dy[i] = y[i] * (dx[i] - dot); });
}

// top = max x and sum = sum e^(x - top).
template <class T> struct ExpSum {
  T top, sum;
};
template <class Lane, class T> FM_HD ExpSum<T> exp_sum(Lane lane, std::int64_t n, const T* x) {
  const T top = lane.max(n, [&](std::int64_t i) { return x[i]; });
  return {top, lane.sum(n, [&](std::int64_t i) { return math::exp_nonpositive(x[i] - top); })};
}

// Returns the logarithm, computed in double and rounded once. Needed once for each row.
template <class T> FM_HD T log_of_sum(T sum) { return static_cast<T>(math::log(static_cast<double>(sum))); }

template <class Lane, class T> FM_HD void log_softmax_value(Lane lane, std::int64_t n, const T* x, T* y) {
  const ExpSum<T> e = exp_sum(lane, n, x);
  const T log_sum = log_of_sum(e.sum);
  lane.each(n, [&](std::int64_t i) { y[i] = (x[i] - e.top) - log_sum; });
}

// The result must not be another argument, here and in the pull: it holds probabilities between the passes.
template <class Lane, class T> FM_HD void log_softmax_push(Lane lane, std::int64_t n, const T* y, const T* dx, T* dy) {
  const T sum = lane.sum(n, [&](std::int64_t i) { return dy[i] = math::exp_nonpositive(y[i]); });
  const T mean = lane.sum(n, [&](std::int64_t i) { return dy[i] * dx[i]; }) / sum;
  lane.each(n, [&](std::int64_t i) { dy[i] = dx[i] - mean; });
}

template <class Lane, class T> FM_HD void log_softmax_pull(Lane lane, std::int64_t n, const T* y, const T* gy, T* gx) {
  const T all = lane.sum(n, [&](std::int64_t i) { return gy[i]; });
  const T scale = all / lane.sum(n, [&](std::int64_t i) { return gx[i] = math::exp_nonpositive(y[i]); });
  lane.each(n, [&](std::int64_t i) { gx[i] = gy[i] - gx[i] * scale; });
}

template <class Lane, class T> FM_HD void cross_entropy_value(Lane lane, const CrossEntropy<T>& a, std::int64_t r, T* loss) {
  const T* x = a.x + r * a.classes;
  const ExpSum<T> e = exp_sum(lane, a.classes, x);
  const T log_sum = log_of_sum(e.sum);
  const auto surprise = [&](std::int64_t i) { return log_sum - (x[i] - e.top); };
  const T of_row = a.labels ? surprise(a.labels[r]) : lane.sum(a.classes, [&, p = a.p + r * a.classes](std::int64_t i) { return p[i] * surprise(i); });
  lane.once([&] {
    a.top[r] = e.top;
    a.sum[r] = e.sum;
    loss[r] = of_row;
  });
}

template <class Lane, class T>
FM_HD void cross_entropy_push(Lane lane, const CrossEntropy<T>& a, std::int64_t r, const T* dx_all, T* dloss) {
  const T *x = a.x + r * a.classes, *dx = dx_all + r * a.classes;
  const T top = a.top[r];
  const T mean = lane.sum(a.classes, [&](std::int64_t i) { return math::exp_nonpositive(x[i] - top) * dx[i]; }) / a.sum[r];
  const T of_row = a.labels ? mean - dx[a.labels[r]] : lane.sum(a.classes, [&, p = a.p + r * a.classes](std::int64_t i) { return p[i] * (mean - dx[i]); });
  lane.once([&] { dloss[r] = of_row; });
}

template <class Lane, class T>
FM_HD void cross_entropy_pull(Lane lane, const CrossEntropy<T>& a, std::int64_t r, const T* gloss, T* gx_all) {
  const T* x = a.x + r * a.classes;
  T* gx = gx_all + r * a.classes;
  const T top = a.top[r], g = gloss[r];
  if (a.labels) {
    const std::int64_t label = a.labels[r];
    const T scale = g / a.sum[r];
    lane.each(a.classes, [&](std::int64_t i) { gx[i] = math::exp_nonpositive(x[i] - top) * scale - (i == label ? g : T(0)); });
  } else {
    const T* p = a.p + r * a.classes;
    const T scale = g * lane.sum(a.classes, [&](std::int64_t i) { return p[i]; }) / a.sum[r];
    lane.each(a.classes, [&](std::int64_t i) { gx[i] = math::exp_nonpositive(x[i] - top) * scale - g * p[i]; });
  }
}

}  // namespace fm::rows
