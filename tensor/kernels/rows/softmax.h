// softmax and log-softmax of a row, and cross-entropy of logits:
//   softmax: y = e^(x - max) / sum;   dy = y (dx - sum(y dx));   gx = y (gy - sum(y gy))
//   log-softmax: y = x - lse;         dy = dx - sum(e^y dx);     gx = gy - e^y sum(gy)
//   cross-entropy: loss = -sum p (x - lse);  its gradient in x is softmax(x) sum(p) - p
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

// push and pull are the same symmetric matrix diag(y) - y y^T.
template <class Lane, class T> FM_HD void softmax_push(Lane lane, std::int64_t n, const T* y, const T* dx, T* dy) {
  const T dot = lane.sum(n, [&](std::int64_t i) { return y[i] * dx[i]; });
  lane.each(n, [&](std::int64_t i) { dy[i] = y[i] * (dx[i] - dot); });
}

template <class Lane, class T> FM_HD T log_sum_exp(Lane lane, std::int64_t n, const T* x) {
  const T m = lane.max(n, [&](std::int64_t i) { return x[i]; });
  return m + math::log(lane.sum(n, [&](std::int64_t i) { return math::exp_nonpositive(x[i] - m); }));
}

template <class Lane, class T> FM_HD void log_softmax_value(Lane lane, std::int64_t n, const T* x, T* y) {
  const T lse = log_sum_exp(lane, n, x);
  lane.each(n, [&](std::int64_t i) { y[i] = x[i] - lse; });
}

template <class Lane, class T> FM_HD void log_softmax_push(Lane lane, std::int64_t n, const T* y, const T* dx, T* dy) {
  const T dot = lane.sum(n, [&](std::int64_t i) { return math::exp_nonpositive(y[i]) * dx[i]; });
  lane.each(n, [&](std::int64_t i) { dy[i] = dx[i] - dot; });
}

template <class Lane, class T> FM_HD void log_softmax_pull(Lane lane, std::int64_t n, const T* y, const T* gy, T* gx) {
  const T sum = lane.sum(n, [&](std::int64_t i) { return gy[i]; });
  lane.each(n, [&](std::int64_t i) { gx[i] = gy[i] - math::exp_nonpositive(y[i]) * sum; });
}

template <class Lane, class T> FM_HD void cross_entropy_value(Lane lane, const CrossEntropy<T>& a, std::int64_t r, T* loss) {
  const T* x = a.x + r * a.classes;
  const T lse = log_sum_exp(lane, a.classes, x);
  const T of_row = a.labels ? lse - x[a.labels[r]] : lane.sum(a.classes, [&, p = a.p + r * a.classes](std::int64_t i) { return p[i] * (lse - x[i]); });
  lane.once([&] {
    a.lse[r] = lse;
    loss[r] = of_row;
  });
}

template <class Lane, class T>
FM_HD void cross_entropy_push(Lane lane, const CrossEntropy<T>& a, std::int64_t r, const T* dx_all, T* dloss) {
  const T *x = a.x + r * a.classes, *dx = dx_all + r * a.classes;
  const T lse = a.lse[r];
  const T mean = lane.sum(a.classes, [&](std::int64_t i) { return math::exp_nonpositive(x[i] - lse) * dx[i]; });
  const T of_row = a.labels ? mean - dx[a.labels[r]] : lane.sum(a.classes, [&, p = a.p + r * a.classes](std::int64_t i) { return p[i] * (mean - dx[i]); });
  lane.once([&] { dloss[r] = of_row; });
}

template <class Lane, class T>
FM_HD void cross_entropy_pull(Lane lane, const CrossEntropy<T>& a, std::int64_t r, const T* gloss, T* gx_all) {
  const T* x = a.x + r * a.classes;
  T* gx = gx_all + r * a.classes;
  const T lse = a.lse[r], g = gloss[r];
  if (a.labels) {
    const std::int64_t label = a.labels[r];
    lane.each(a.classes, [&](std::int64_t i) { gx[i] = g * (math::exp_nonpositive(x[i] - lse) - (i == label ? T(1) : T(0))); });
  } else {
    const T* p = a.p + r * a.classes;
    const T total = lane.sum(a.classes, [&](std::int64_t i) { return p[i]; });
    lane.each(a.classes, [&](std::int64_t i) { gx[i] = g * (math::exp_nonpositive(x[i] - lse) * total - p[i]); });
  }
}

}  // namespace fm::rows
