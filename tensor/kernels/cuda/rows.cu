// Row programs on a GPU. Values and tangents: a warp on each row. Pulls: the same for what has a value in each row; sums over rows (gradients of
// modulations, gates and weights) by one thread for each column of a group of rows, in order.
#include "tensor/kernels/cuda/lane.cuh"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/kernels/rows/gates.h"
#include "tensor/kernels/rows/norm.h"
#include "tensor/kernels/rows/rope.h"
#include "tensor/kernels/rows/softmax.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;
using rows::CrossEntropy;
using rows::Gated;
using rows::Norm;
using rows::NormPull;
using rows::NormPush;
using rows::Rope;

// program(lane, r) for each of n rows. A Program is a small struct of pointers with a device call operator: kernels take it by value.
template <class Program> __global__ void rows_kernel(Program program, Count n) {
  const WarpLane lane{static_cast<int>(threadIdx.x % 32)};
  for (Count r = first_row(); r < n; r += row_step()) program(lane, r);
}
template <class Program> void on_rows(Count n, Program program) {
  if (n > 0) launch(current_stream(), grid_of_rows(n), block_of_rows(n), 0, rows_kernel<Program>, program, n);
}

// program(lane, group, column) for each column of each of n groups of rows.
template <class Program> __global__ void columns_kernel(Program program, Count groups, Count width) {
  for (Count i = first_element(); i < groups * width; i += element_step()) program(ColumnLane{i % width}, i / width);
}
template <class Program> void on_columns(Count groups, Count width, Program program) {
  if (groups * width == 0) return;
  launch(current_stream(), grid_for(groups * width, 1), dim3(threads_per_block), 0, columns_kernel<Program>, program, groups, width);
}

// ---- norms --------------------------------------------------------------------------------------------------------------------------------

template <bool centred, class T, class S> struct NormValue {
  Norm<T, S> a;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_value<centred>(lane, a, r, y); }
};
template <bool centred, class T, class S> struct NormPushRow {
  Norm<T, S> a;
  NormPush<T, S> t;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_push<centred>(lane, a, t, r); }
};
template <bool centred, class T, class S> struct NormPullX {
  Norm<T, S> a;
  NormPull<T, S> t;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_pull_x<centred>(lane, a, t, r); }
};
template <bool centred, class T, class S> struct NormPullModulation {
  Norm<T, S> a;
  NormPull<T, S> t;
  FM_HD void operator()(ColumnLane lane, Count group) const {
    const Count begin = group * a.modulation.share, end = begin + a.modulation.share < a.rows ? begin + a.modulation.share : a.rows;
    for (Count r = begin; r < end; ++r) rows::norm_pull_modulation<centred>(lane, a, t, r, r == begin);
  }
};
// The partial sums of rows [block b, block b + 1) into the workspace.
template <bool centred, class T, class S> struct NormPullWeight {
  Norm<T, S> a;
  NormPull<T, S> t;
  Count block;
  T *partial_w, *partial_b;
  FM_HD void operator()(ColumnLane lane, Count b) const {
    T *gw = partial_w ? partial_w + b * a.width : nullptr, *gb = partial_b ? partial_b + b * a.width : nullptr;
    if (gw) gw[lane.column] = T(0);
    if (gb) gb[lane.column] = T(0);
    const Count end = (b + 1) * block < a.rows ? (b + 1) * block : a.rows;
    for (Count r = b * block; r < end; ++r) rows::norm_pull_weight<centred>(lane, a, t, r, gw, gb);
  }
};
template <class T> struct AddBlocks {
  const T* partial;
  T* out;
  Count blocks, width;
  FM_HD void operator()(ColumnLane lane, Count) const {
    T total(0);
    for (Count b = 0; b < blocks; ++b) total += partial[b * width + lane.column];
    out[lane.column] = total;
  }
};

template <bool centred, class T, class S> void norm_value(const Norm<T, S>& a, S* y) { on_rows(a.rows, NormValue<centred, T, S>{a, y}); }
template <bool centred, class T, class S> void norm_push(const Norm<T, S>& a, const NormPush<T, S>& t) {
  on_rows(a.rows, NormPushRow<centred, T, S>{a, t});
}
template <bool centred, class T, class S> void norm_pull(const Norm<T, S>& a, const NormPull<T, S>& t) {
  if (t.gx) on_rows(a.rows, NormPullX<centred, T, S>{a, t});
  if (t.gscale || t.gshift) on_columns((a.rows + a.modulation.share - 1) / a.modulation.share, a.width, NormPullModulation<centred, T, S>{a, t});
  if (!t.gweight && !t.gbias) return;
  const Count block = rows::norm_block_rows(a.rows, a.modulation.share), blocks = (a.rows + block - 1) / block;
  T* partial_w = t.gweight ? t.workspace : nullptr;
  T* partial_b = t.gbias ? t.workspace + blocks * a.width : nullptr;
  on_columns(blocks, a.width, NormPullWeight<centred, T, S>{a, t, block, partial_w, partial_b});
  if (partial_w) on_columns(1, a.width, AddBlocks<T>{partial_w, t.gweight, blocks, a.width});
  if (partial_b) on_columns(1, a.width, AddBlocks<T>{partial_b, t.gbias, blocks, a.width});
}

// ---- softmax, cross-entropy ---------------------------------------------------------------------------------------------------------------

// f(lane, n, a + r n, b + r n, y + r n) for each row; b may be null.
template <class F, class T> struct ByRows {
  Count n;
  const T *a, *b;
  T* y;
  FM_HD void operator()(WarpLane lane, Count r) const { F::run(lane, n, a + r * n, b ? b + r * n : nullptr, y + r * n); }
};
struct SoftmaxValue {
  template <class T> FM_HD static void run(WarpLane lane, Count n, const T* x, const T*, T* y) { rows::softmax_value(lane, n, x, y); }
};
struct SoftmaxPush {
  template <class T> FM_HD static void run(WarpLane lane, Count n, const T* y, const T* dx, T* dy) { rows::softmax_push(lane, n, y, dx, dy); }
};
struct LogSoftmaxValue {
  template <class T> FM_HD static void run(WarpLane lane, Count n, const T* x, const T*, T* y) { rows::log_softmax_value(lane, n, x, y); }
};
struct LogSoftmaxPush {
  template <class T> FM_HD static void run(WarpLane lane, Count n, const T* y, const T* dx, T* dy) { rows::log_softmax_push(lane, n, y, dx, dy); }
};
struct LogSoftmaxPull {
  template <class T> FM_HD static void run(WarpLane lane, Count n, const T* y, const T* gy, T* gx) { rows::log_softmax_pull(lane, n, y, gy, gx); }
};

template <class F, class T> void value_by_rows(Count rows, Count n, const T* x, T* y) { on_rows(rows, ByRows<F, T>{n, x, nullptr, y}); }
template <class F, class T> void tangent_by_rows(Count rows, Count n, const T* y, const T* d, T* out) { on_rows(rows, ByRows<F, T>{n, y, d, out}); }

template <class T> struct CrossEntropyValue {
  CrossEntropy<T> a;
  T* loss;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::cross_entropy_value(lane, a, r, loss); }
};
template <class T> struct CrossEntropyPush {
  CrossEntropy<T> a;
  const T* dx;
  T* dloss;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::cross_entropy_push(lane, a, r, dx, dloss); }
};
template <class T> struct CrossEntropyPull {
  CrossEntropy<T> a;
  const T* gloss;
  T* gx;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::cross_entropy_pull(lane, a, r, gloss, gx); }
};

template <class T> void cross_entropy_value(const CrossEntropy<T>& a, T* loss) { on_rows(a.rows, CrossEntropyValue<T>{a, loss}); }
template <class T> void cross_entropy_push(const CrossEntropy<T>& a, const T* dx, T* dloss) { on_rows(a.rows, CrossEntropyPush<T>{a, dx, dloss}); }
template <class T> void cross_entropy_pull(const CrossEntropy<T>& a, const T* gloss, T* gx) { on_rows(a.rows, CrossEntropyPull<T>{a, gloss, gx}); }

// ---- gates, rotations ---------------------------------------------------------------------------------------------------------------------

template <class S> struct SwigluValue {
  Count half;
  const S* x;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_value(lane, half, x + 2 * r * half, y + r * half); }
};
template <class S> struct SwigluPush {
  Count half;
  const S *x, *dx;
  S* dy;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_push(lane, half, x + 2 * r * half, dx + 2 * r * half, dy + r * half); }
};
template <class S> struct SwigluPull {
  Count half;
  const S *x, *gy;
  S* gx;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_pull(lane, half, x + 2 * r * half, gy + r * half, gx + 2 * r * half); }
};

template <class S> void swiglu_value(Count rows, Count half, const S* x, S* y) { on_rows(rows, SwigluValue<S>{half, x, y}); }
template <class S> void swiglu_push(Count rows, Count half, const S* x, const S* dx, S* dy) { on_rows(rows, SwigluPush<S>{half, x, dx, dy}); }
template <class S> void swiglu_pull(Count rows, Count half, const S* x, const S* gy, S* gx) { on_rows(rows, SwigluPull<S>{half, x, gy, gx}); }

template <class S> struct GatedValue {
  Gated<S> a;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::gated_value(lane, a, r, y); }
};
template <class S> struct GatedPush {
  Gated<S> a;
  const S *dx, *dh, *dgate;
  Count ld;
  S* dy;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::gated_push(lane, a, r, dx, dh, dgate, ld, dy); }
};
template <class T, class S> struct GatedPull {
  Gated<S> a;
  const S* gy;
  S* gh;
  T* ggate;
  Count ld;
  FM_HD void operator()(ColumnLane lane, Count group) const { rows::gated_pull_group(lane, a, group, gy, gh, ggate, ld); }
};

template <class S> void gated_value(const Gated<S>& a, S* y) { on_rows(a.rows, GatedValue<S>{a, y}); }
template <class S> void gated_push(const Gated<S>& a, const S* dx, const S* dh, const S* dgate, Count ld, S* dy) {
  on_rows(a.rows, GatedPush<S>{a, dx, dh, dgate, ld, dy});
}
template <class T, class S> void gated_pull(const Gated<S>& a, const S* gy, S* gh, T* ggate, Count ld) {
  on_columns((a.rows + a.modulation.share - 1) / a.modulation.share, a.width, GatedPull<T, S>{a, gy, gh, ggate, ld});
}

template <bool transposed, class T, class S> struct RopeRow {
  Rope<T> a;
  const S* x;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const {
    const Count width = a.parts * a.heads * a.dim;
    rows::rope<transposed>(lane, a, r, x + r * width, y + r * width);
  }
};
template <bool transposed, class T, class S> void rope(const Rope<T>& a, const S* x, S* y) {
  on_rows(a.batch * a.tokens, RopeRow<transposed, T, S>{a, x, y});
}

template <class T, class S = T> ActivationTable<T, S> activations() {
  return {norm_value<true, T, S>, norm_push<true, T, S>, norm_pull<true, T, S>, norm_value<false, T, S>, norm_push<false, T, S>, norm_pull<false, T, S>,
          swiglu_value<S>,        swiglu_push<S>,        swiglu_pull<S>,        gated_value<S>,          gated_push<S>,          gated_pull<T, S>,
          rope<false, T, S>,      rope<true, T, S>};
}
template <class T> RowTable<T> table() {
  return {activations<T>(),
          value_by_rows<SoftmaxValue, T>,    tangent_by_rows<SoftmaxPush, T>,    tangent_by_rows<SoftmaxPush, T>,  // the Jacobian is symmetric
          value_by_rows<LogSoftmaxValue, T>, tangent_by_rows<LogSoftmaxPush, T>, tangent_by_rows<LogSoftmaxPull, T>,
          cross_entropy_value<T>,            cross_entropy_push<T>,              cross_entropy_pull<T>};
}

}  // namespace

const RowKernels& row_kernels() {
  static const RowKernels tables{table<float>(), table<double>(), activations<float, bf16>()};
  return tables;
}

}  // namespace fm::cuda
