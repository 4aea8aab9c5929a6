#include "tensor/kernels/cpu/rows.h"

#include "tensor/kernels/cpu/lane.h"
#include "tensor/kernels/rows/gates.h"
#include "tensor/kernels/rows/group_norm.h"
#include "tensor/kernels/rows/norm.h"
#include "tensor/kernels/rows/rope.h"
#include "tensor/kernels/rows/softmax.h"
#include "tensor/parallel.h"

namespace fm::cpu {
namespace {

using Count = std::int64_t;
using rows::CrossEntropy;
using rows::Gated;
using rows::Norm;
using rows::NormPull;
using rows::NormPush;
using rows::Rope;

template <bool centred, class T, class S, class X> void norm_value(const Norm<T, S, X>& a, S* y) {
  parallel_for(a.rows, 4 * a.width, [&](Count r) { rows::norm_value<centred>(Lane{}, a, r, y); });
}

template <bool centred, class T, class S, class X> void norm_push(const Norm<T, S, X>& a, const NormPush<T, S, X>& t) {
  parallel_for(a.rows, 6 * a.width, [&](Count r) { rows::norm_push<centred>(Lane{}, a, t, r); });
}

template <bool centred, class T, class S, class X> void norm_pull(const Norm<T, S, X>& a, const NormPull<T, S, X>& t) {
  const Count n = a.width, block = rows::norm_block_rows(a.rows, a.modulation.share), blocks = (a.rows + block - 1) / block;
  T* partial_w = t.gweight ? t.workspace : nullptr;
  T* partial_b = t.gbias ? t.workspace + blocks * n : nullptr;
  parallel_for(blocks, 10 * n * block, [&](Count b) {
    const Count end = (b + 1) * block < a.rows ? (b + 1) * block : a.rows;
    T* gw = partial_w ? partial_w + b * n : nullptr;
    T* gb = partial_b ? partial_b + b * n : nullptr;
    rows::norm_pull_block<centred>(Lane{}, a, t, b * block, end, gw, gb);
  });
  const auto combine = [&](const T* partial, T* out) {
    Lane{}.each(n, [&](Count i) { out[i] = T(0); });
    for (Count b = 0; b < blocks; ++b) Lane{}.each(n, [&](Count i) { out[i] += partial[b * n + i]; });
  };
  if (partial_w) combine(partial_w, t.gweight);
  if (partial_b) combine(partial_b, t.gbias);
}

template <class T, class S, class X> void group_norm_value(const rows::GroupNorm<T, X>& a, S* y) {
  parallel_for(a.rows, 8 * a.channels * a.pixels, [&](Count r) { rows::group_norm_value(Lane{}, a, r, y); });
}

template <class T> void softmax_value(Count rows, Count n, const T* x, T* y) {
  parallel_for(rows, 12 * n, [&](Count r) { rows::softmax_value(Lane{}, n, x + r * n, y + r * n); });
}
template <class T> void softmax_push(Count rows, Count n, const T* y, const T* dx, T* dy) {
  parallel_for(rows, 4 * n, [&](Count r) { rows::softmax_push(Lane{}, n, y + r * n, dx + r * n, dy + r * n); });
}
template <class T> void log_softmax_value(Count rows, Count n, const T* x, T* y) {
  parallel_for(rows, 12 * n, [&](Count r) { rows::log_softmax_value(Lane{}, n, x + r * n, y + r * n); });
}
template <class T> void log_softmax_push(Count rows, Count n, const T* y, const T* dx, T* dy) {
  parallel_for(rows, 12 * n, [&](Count r) { rows::log_softmax_push(Lane{}, n, y + r * n, dx + r * n, dy + r * n); });
}
template <class T> void log_softmax_pull(Count rows, Count n, const T* y, const T* gy, T* gx) {
  parallel_for(rows, 12 * n, [&](Count r) { rows::log_softmax_pull(Lane{}, n, y + r * n, gy + r * n, gx + r * n); });
}

template <class T> void swiglu_value(Count rows, Count half, const T* x, T* y) {
  parallel_for(rows, 12 * half, [&](Count r) { rows::swiglu_value(Lane{}, half, x + 2 * r * half, y + r * half); });
}
template <class T> void swiglu_push(Count rows, Count half, const T* x, const T* dx, T* dy) {
  parallel_for(rows, 14 * half, [&](Count r) { rows::swiglu_push(Lane{}, half, x + 2 * r * half, dx + 2 * r * half, dy + r * half); });
}
template <class T> void swiglu_pull(Count rows, Count half, const T* x, const T* gy, T* gx) {
  parallel_for(rows, 14 * half, [&](Count r) { rows::swiglu_pull(Lane{}, half, x + 2 * r * half, gy + r * half, gx + 2 * r * half); });
}

template <class S, class X> void gated_value(const Gated<S, X>& a, X* y) {
  parallel_for(a.rows, 2 * a.width, [&](Count r) { rows::gated_value(Lane{}, a, r, y); });
}
template <class S, class X> void gated_push(const Gated<S, X>& a, const X* dx, const S* dh, const S* dgate, Count ld, X* dy) {
  parallel_for(a.rows, 3 * a.width, [&](Count r) { rows::gated_push(Lane{}, a, r, dx, dh, dgate, ld, dy); });
}
template <class T, class S, class X> void gated_pull(const Gated<S, X>& a, const X* gy, S* gh, T* ggate, Count ld) {
  const Count share = a.modulation.share, groups = (a.rows + share - 1) / share;
  parallel_for(groups, 4 * a.width * share, [&](Count m) { rows::gated_pull_group(Lane{}, a, m, gy, gh, ggate, ld); });
}

template <bool transposed, class T, class S> void rope(const Rope<T>& a, const S* x, S* y) {
  const Count width = a.parts * a.heads * a.dim;
  parallel_for(a.batch * a.tokens, 3 * width, [&](Count r) { rows::rope<transposed>(Lane{}, a, r, x + r * width, y + r * width); });
}

template <class T> void cross_entropy_value(const CrossEntropy<T>& a, T* loss) {
  parallel_for(a.rows, 12 * a.classes, [&](Count r) { rows::cross_entropy_value(Lane{}, a, r, loss); });
}
template <class T> void cross_entropy_push(const CrossEntropy<T>& a, const T* dx, T* dloss) {
  parallel_for(a.rows, 12 * a.classes, [&](Count r) { rows::cross_entropy_push(Lane{}, a, r, dx, dloss); });
}
template <class T> void cross_entropy_pull(const CrossEntropy<T>& a, const T* gloss, T* gx) {
  parallel_for(a.rows, 12 * a.classes, [&](Count r) { rows::cross_entropy_pull(Lane{}, a, r, gloss, gx); });
}

template <class T, class S, class X> constexpr StreamTable<T, S, X> on_stream() {
  return {norm_value<true, T, S, X>,  norm_push<true, T, S, X>,  norm_pull<true, T, S, X>,
          norm_value<false, T, S, X>, norm_push<false, T, S, X>, norm_pull<false, T, S, X>,
          gated_value<S, X>,          gated_push<S, X>,          gated_pull<T, S, X>,
          group_norm_value<T, S, X>};
}
template <class T, class S = T> constexpr ActivationTable<T, S> activations() {
  return {on_stream<T, S, S>(), swiglu_value<S>, swiglu_push<S>, swiglu_pull<S>, rope<false, T, S>, rope<true, T, S>};
}
template <class T> constexpr RowTable<T> table() {
  return {activations<T>(),
          softmax_value<T>,       softmax_push<T>,        softmax_push<T>,  // the Jacobian is symmetric
          log_softmax_value<T>,   log_softmax_push<T>,    log_softmax_pull<T>,
          cross_entropy_value<T>, cross_entropy_push<T>,  cross_entropy_pull<T>};
}
constexpr RowKernels kernels{table<float>(), table<double>(), activations<float, bf16>(),
                             on_stream<float, bf16, float>()};

}  // namespace

namespace FM_ISA {
const RowKernels& row_kernels() { return kernels; }
}  // namespace FM_ISA

}  // namespace fm::cpu
