// Row programs on a GPU. A warp computes a row of values, of tangents, and of gradients that have a value for each row. Gradients that are sums over
// rows (of modulations, gates and weights) are computed by blocks on 32 columns of some rows: the eight threads of a column share the rows. The order
// of additions is always the same.
#include <limits>

#include "tensor/kernels/cuda/lane.cuh"
#include "tensor/kernels/cuda/launch.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
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

// Calls program(lane, r) for each of n rows. A Program is a small struct of pointers with a device call operator, which kernels take by value.
template <class Program>
__global__ void rows_kernel(Program program, Count n) {
  const WarpLane lane{static_cast<int>(threadIdx.x % 32)};
  for (Count r = first_row(); r < n; r += row_step()) program(lane, r);
}
template <class Program>
void on_rows(Count n, Count width, Program program) {
  if (n > 0 && width > 0) launch(current_stream(), grid_of_rows(n), block_of_rows(n), 0, rows_kernel<Program>, program, n);
}

// ---- sums over rows -----------------------------------------------------------------------------------------
constexpr int column_threads = 32, row_threads = 8;

// Returns the sum over the threads of a column, in their order. All threads of the block must call it.
template <class T, class Shared>
__device__ T column_sum(const Shared& shared, T value) {
  shared[threadIdx.y * column_threads + threadIdx.x] = value;
  __syncthreads();
  T total = T(0);
  for (int k = 0; k < row_threads; ++k) total += T(shared[k * column_threads + threadIdx.x]);
  __syncthreads();
  return total;
}

// Goes over rows [begin, end) in groups of `share` rows; a group begins at `begin`. row(r, sums) adds row r, done(group, sums) receives the n sums of
// a group. The threads of a column share the rows of a large group. Small groups are taken whole, by one thread each, in turn.
template <int n, class T, class Shared, class Row, class Done>
__device__ void over_groups(const Shared& shared, Count begin, Count end, Count share, const Row& row, const Done& done) {
  const bool together = share >= row_threads;
  const Count mine = threadIdx.y;
  for (Count g = begin / share; g * share < end; g += together ? 1 : row_threads) {
    const Count group = together ? g : g + mine, first = group * share, last = first + share < end ? first + share : end;
    T sums[n] = {};
    for (Count r = together ? first + mine : first; r < last; r += together ? row_threads : 1) row(r, sums);
    if (together)
      for (T& sum : sums) sum = column_sum(shared, sum);
    if (first < end && (!together || mine == 0)) done(group, sums);
  }
}

// Cuts the rows of a (rows, width) array into blocks: block b has rows [b size, (b + 1) size).
struct RowBlocks {
  Count rows, width, size;
  RowBlocks(Count rows_, Count width_, Count share) : rows(rows_), width(width_), size(rows::norm_block_rows(rows_, share)) {}
  FM_HD Count blocks() const { return (rows + size - 1) / size; }
  FM_HD Count cuts() const { return (width + column_threads - 1) / column_threads; }
};

// Calls program(shared, b, begin, end, column, whether the column exists) for every block b of rows and every column.
template <class T, class Program>
__global__ void columns_kernel(Program program, RowBlocks cut) {
  FM_SHARED(T, shared);
  for (Count job = blockIdx.x; job < cut.blocks() * cut.cuts(); job += gridDim.x) {
    const Count b = job / cut.cuts(), column = job % cut.cuts() * column_threads + threadIdx.x, end = (b + 1) * cut.size;
    program(shared, b, b * cut.size, end < cut.rows ? end : cut.rows, column, column < cut.width);
  }
}
template <class T, class Program>
void on_columns(const RowBlocks& cut, Program program) {
  if (cut.rows == 0 || cut.width == 0) return;
  const Count jobs = cut.blocks() * cut.cuts();
  launch(current_stream(), dim3(static_cast<unsigned>(jobs < 65535 ? jobs : 65535)), dim3(column_threads, row_threads),
         column_threads * row_threads * sizeof(T), columns_kernel<T, Program>, program, cut);
}

// ---- norms -----------------------------------------------------------------------------------------

template <bool centred, class T, class S, class X>
struct NormValue {
  Norm<T, S, X> a;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_value<centred>(lane, a, r, y); }
};
template <bool centred, class T, class S, class X>
struct NormPushRow {
  Norm<T, S, X> a;
  NormPush<T, S, X> t;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_push<centred>(lane, a, t, r); }
};
template <bool centred, class T, class S, class X>
struct NormPullX {
  Norm<T, S, X> a;
  NormPull<T, S, X> t;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::norm_pull_x<centred>(lane, a, t, r); }
};
// Gradients of modulations, and the block's part of the gradients of weight and bias.
template <bool centred, class T, class S, class X>
struct NormPullSums {
  Norm<T, S, X> a;
  NormPull<T, S, X> t;
  T *partial_weight, *partial_bias;
  template <class Shared>
  __device__ void operator()(const Shared& shared, Count b, Count begin, Count end, Count column, bool there) const {
    T weight = T(0), bias = T(0);
    over_groups<2, T>(
        shared, begin, end, a.modulation.share,
        [&](Count r, T* sums) {
          if (!there) return;
          const rows::NormSums<T> x = rows::norm_pull_element<centred>(a, t, r, column);
          sums[0] += x.scale;
          sums[1] += x.shift;
          weight += x.weight;
          bias += x.bias;
        },
        [&](Count group, const T* sums) {
          if (there && t.gscale) t.gscale[group * t.ld + column] = sums[0];
          if (there && t.gshift) t.gshift[group * t.ld + column] = sums[1];
        });
    if (!partial_weight && !partial_bias) return;
    weight = column_sum(shared, weight);
    bias = column_sum(shared, bias);
    if (!there || threadIdx.y != 0) return;
    if (partial_weight) partial_weight[b * a.width + column] = weight;
    if (partial_bias) partial_bias[b * a.width + column] = bias;
  }
};

// out[column] = the sum of `blocks` partial sums.
template <class T>
struct AddBlocks {
  const T* partial;
  T* out;
  Count blocks, width;
  template <class Shared>
  __device__ void operator()(const Shared& shared, Count, Count, Count, Count column, bool there) const {
    T total = T(0);
    for (Count b = threadIdx.y; there && b < blocks; b += row_threads) total += partial[b * width + column];
    total = column_sum(shared, total);
    if (there && threadIdx.y == 0) out[column] = total;
  }
};

template <bool centred, class T, class S, class X>
void norm_value(const Norm<T, S, X>& a, S* y) {
  on_rows(a.rows, a.width, NormValue<centred, T, S, X>{a, y});
}
template <bool centred, class T, class S, class X>
void norm_push(const Norm<T, S, X>& a, const NormPush<T, S, X>& t) {
  on_rows(a.rows, a.width, NormPushRow<centred, T, S, X>{a, t});
}
template <bool centred, class T, class S, class X>
void norm_pull(const Norm<T, S, X>& a, const NormPull<T, S, X>& t) {
  if (t.gx) on_rows(a.rows, a.width, NormPullX<centred, T, S, X>{a, t});
  if (!t.gscale && !t.gshift && !t.gweight && !t.gbias) return;
  const RowBlocks cut(a.rows, a.width, a.modulation.share);
  T* partial_weight = t.gweight ? t.workspace : nullptr;
  T* partial_bias = t.gbias ? t.workspace + cut.blocks() * a.width : nullptr;
  on_columns<T>(cut, NormPullSums<centred, T, S, X>{a, t, partial_weight, partial_bias});
  const RowBlocks one(1, a.width, 1);
  if (partial_weight) on_columns<T>(one, AddBlocks<T>{partial_weight, t.gweight, cut.blocks(), a.width});
  if (partial_bias) on_columns<T>(one, AddBlocks<T>{partial_bias, t.gbias, cut.blocks(), a.width});
}

// ---- softmax, cross-entropy -----------------------------------------------------------------------------------------

// Calls f(lane, n, a + r n, b + r n, y + r n) for each row r; b may be null.
template <class F, class T>
struct ByRows {
  Count n;
  const T *a, *b;
  T* y;
  FM_HD void operator()(WarpLane lane, Count r) const { F::run(lane, n, a + r * n, b ? b + r * n : nullptr, y + r * n); }
};
struct SoftmaxValue {
  template <class T>
  FM_HD static void run(WarpLane lane, Count n, const T* x, const T*, T* y) {
    rows::softmax_value(lane, n, x, y);
  }
};
struct SoftmaxPush {
  template <class T>
  FM_HD static void run(WarpLane lane, Count n, const T* y, const T* dx, T* dy) {
    rows::softmax_push(lane, n, y, dx, dy);
  }
};
struct LogSoftmaxValue {
  template <class T>
  FM_HD static void run(WarpLane lane, Count n, const T* x, const T*, T* y) {
    rows::log_softmax_value(lane, n, x, y);
  }
};
struct LogSoftmaxPush {
  template <class T>
  FM_HD static void run(WarpLane lane, Count n, const T* y, const T* dx, T* dy) {
    rows::log_softmax_push(lane, n, y, dx, dy);
  }
};
struct LogSoftmaxPull {
  template <class T>
  FM_HD static void run(WarpLane lane, Count n, const T* y, const T* gy, T* gx) {
    rows::log_softmax_pull(lane, n, y, gy, gx);
  }
};

template <class F, class T>
void value_by_rows(Count rows, Count n, const T* x, T* y) {
  on_rows(rows, n, ByRows<F, T>{n, x, nullptr, y});
}
template <class F, class T>
void tangent_by_rows(Count rows, Count n, const T* y, const T* d, T* out) {
  on_rows(rows, n, ByRows<F, T>{n, y, d, out});
}

// Labels were checked, but the host may not have read the result yet: a label out of range reads nothing, and its loss is NaN.
template <class T>
FM_HD bool has_class(const CrossEntropy<T>& a, Count r) {
  return !a.labels || (a.labels[r] >= 0 && a.labels[r] < a.classes);
}

template <class T>
struct CrossEntropyValue {
  CrossEntropy<T> a;
  T* loss;
  FM_HD void operator()(WarpLane lane, Count r) const {
    if (has_class(a, r))
      rows::cross_entropy_value(lane, a, r, loss);
    else
      lane.once([&] { loss[r] = a.top[r] = a.sum[r] = std::numeric_limits<T>::quiet_NaN(); });
  }
};
template <class T>
struct CrossEntropyPush {
  CrossEntropy<T> a;
  const T* dx;
  T* dloss;
  FM_HD void operator()(WarpLane lane, Count r) const {
    if (has_class(a, r))
      rows::cross_entropy_push(lane, a, r, dx, dloss);
    else
      lane.once([&] { dloss[r] = std::numeric_limits<T>::quiet_NaN(); });
  }
};
template <class T>
struct CrossEntropyPull {
  CrossEntropy<T> a;
  const T* gloss;
  T* gx;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::cross_entropy_pull(lane, a, r, gloss, gx); }
};

template <class T>
void cross_entropy_value(const CrossEntropy<T>& a, T* loss) {
  on_rows(a.rows, a.classes, CrossEntropyValue<T>{a, loss});
}
template <class T>
void cross_entropy_push(const CrossEntropy<T>& a, const T* dx, T* dloss) {
  on_rows(a.rows, a.classes, CrossEntropyPush<T>{a, dx, dloss});
}
template <class T>
void cross_entropy_pull(const CrossEntropy<T>& a, const T* gloss, T* gx) {
  on_rows(a.rows, a.classes, CrossEntropyPull<T>{a, gloss, gx});
}

// ---- gates, rotations -----------------------------------------------------------------------------------------

template <class S>
struct SwigluValue {
  Count half;
  const S* x;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_value(lane, half, x + 2 * r * half, y + r * half); }
};
template <class S>
struct SwigluPush {
  Count half;
  const S *x, *dx;
  S* dy;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_push(lane, half, x + 2 * r * half, dx + 2 * r * half, dy + r * half); }
};
template <class S>
struct SwigluPull {
  Count half;
  const S *x, *gy;
  S* gx;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::swiglu_pull(lane, half, x + 2 * r * half, gy + r * half, gx + 2 * r * half); }
};

template <class S>
void swiglu_value(Count rows, Count half, const S* x, S* y) {
  on_rows(rows, half, SwigluValue<S>{half, x, y});
}
template <class S>
void swiglu_push(Count rows, Count half, const S* x, const S* dx, S* dy) {
  on_rows(rows, half, SwigluPush<S>{half, x, dx, dy});
}
template <class S>
void swiglu_pull(Count rows, Count half, const S* x, const S* gy, S* gx) {
  on_rows(rows, half, SwigluPull<S>{half, x, gy, gx});
}

template <class S, class X>
struct GatedValue {
  Gated<S, X> a;
  X* y;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::gated_value(lane, a, r, y); }
};
template <class S, class X>
struct GatedPush {
  Gated<S, X> a;
  const X* dx;
  const S *dh, *dgate;
  Count ld;
  X* dy;
  FM_HD void operator()(WarpLane lane, Count r) const { rows::gated_push(lane, a, r, dx, dh, dgate, ld, dy); }
};
template <class T, class S, class X>
struct GatedPull {
  Gated<S, X> a;
  const X* gy;
  S* gh;
  T* ggate;
  Count ld;
  template <class Shared>
  __device__ void operator()(const Shared& shared, Count, Count begin, Count end, Count column, bool there) const {
    over_groups<1, T>(
        shared, begin, end, a.modulation.share,
        [&](Count r, T* sums) {
          if (!there) return;
          const T g = rows::read(gy + r * a.width)[column];
          if (gh) rows::write(gh + r * a.width)[column] = rows::read(a.gate + r / a.modulation.share * a.modulation.ld)[column] * g;
          if (ggate) sums[0] += g * rows::read(a.h + r * a.width)[column];
        },
        [&](Count group, const T* sums) {
          if (there && ggate) ggate[group * ld + column] = sums[0];
        });
  }
};

template <class S, class X>
void gated_value(const Gated<S, X>& a, X* y) {
  on_rows(a.rows, a.width, GatedValue<S, X>{a, y});
}
template <class S, class X>
void gated_push(const Gated<S, X>& a, const X* dx, const S* dh, const S* dgate, Count ld, X* dy) {
  on_rows(a.rows, a.width, GatedPush<S, X>{a, dx, dh, dgate, ld, dy});
}
template <class T, class S, class X>
void gated_pull(const Gated<S, X>& a, const X* gy, S* gh, T* ggate, Count ld) {
  if (gh || ggate) on_columns<T>(RowBlocks(a.rows, a.width, a.modulation.share), GatedPull<T, S, X>{a, gy, gh, ggate, ld});
}

template <bool transposed, class T, class S>
struct RopeRow {
  Rope<T> a;
  const S* x;
  S* y;
  FM_HD void operator()(WarpLane lane, Count r) const {
    const Count width = a.parts * a.heads * a.dim;
    rows::rope<transposed>(lane, a, r, x + r * width, y + r * width);
  }
};
template <bool transposed, class T, class S>
void rope(const Rope<T>& a, const S* x, S* y) {
  on_rows(a.batch * a.tokens, a.parts * a.heads * a.dim, RopeRow<transposed, T, S>{a, x, y});
}

template <class T, class S, class X>
StreamTable<T, S, X> on_stream() {
  return {norm_value<true, T, S, X>,  norm_push<true, T, S, X>,  norm_pull<true, T, S, X>,
          norm_value<false, T, S, X>, norm_push<false, T, S, X>, norm_pull<false, T, S, X>,
          gated_value<S, X>,          gated_push<S, X>,          gated_pull<T, S, X>};
}
template <class T, class S = T>
ActivationTable<T, S> activations() {
  return {on_stream<T, S, S>(), swiglu_value<S>, swiglu_push<S>, swiglu_pull<S>, rope<false, T, S>, rope<true, T, S>};
}
template <class T>
RowTable<T> table() {
  return {activations<T>(),
          value_by_rows<SoftmaxValue, T>,
          tangent_by_rows<SoftmaxPush, T>,
          tangent_by_rows<SoftmaxPush, T>,  // the Jacobian is symmetric
          value_by_rows<LogSoftmaxValue, T>,
          tangent_by_rows<LogSoftmaxPush, T>,
          tangent_by_rows<LogSoftmaxPull, T>,
          cross_entropy_value<T>,
          cross_entropy_push<T>,
          cross_entropy_pull<T>};
}

}  // namespace

const RowKernels& row_kernels() {
  static const RowKernels tables{table<float>(), table<double>(), activations<float, bf16>(),
                                 on_stream<float, bf16, float>()};
  return tables;
}

}  // namespace fm::cuda
