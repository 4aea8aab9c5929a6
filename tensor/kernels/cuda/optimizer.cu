// Family `optimizer` on a GPU: AdamW and up to eight averages of the weights in one pass over memory. The list of averages is passed by
// value with the launch, so that it needs no upload. More than eight averages need further passes over p.
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/math.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

constexpr int averages_together = 8;
constexpr Count access_bytes = 16;  // the widest available load

template <class T>
struct Update {
  T* p;
  const T* g;
  T *m, *v;
  AdamWScalars<T> s;
  const AdamWStep* step;
  const AdamWClip* clip;
  T* average[averages_together];
  const double* rate;
  int averages;
  Count n;
};

// The numbers that all elements need, read from the device.
template <class T>
struct Now {
  T scale, keep, step_size, root_correction;
};

template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T x[width];
};

// Updates `width` elements from element width * i on. `update`: there is a gradient.
template <class T, int width, bool update>
__device__ void step(const Update<T>& u, const Now<T>& now, Count i) {
  using P = Pack<T, width>;
  const AdamWScalars<T>& s = u.s;
  P p = reinterpret_cast<const P*>(u.p)[i];
  if constexpr (update) {
    const P g = reinterpret_cast<const P*>(u.g)[i];
    P m = reinterpret_cast<const P*>(u.m)[i], v = reinterpret_cast<const P*>(u.v)[i];
    for (int j = 0; j < width; ++j) {
      const T gj = now.scale * g.x[j];
      m.x[j] += s.rate1 * (gj - m.x[j]);
      v.x[j] = s.beta2 * v.x[j] + s.rate2 * (gj * gj);
      p.x[j] = now.keep * p.x[j] - now.step_size * m.x[j] / (math::sqrt(v.x[j]) * now.root_correction + s.eps);
    }
    reinterpret_cast<P*>(u.m)[i] = m;
    reinterpret_cast<P*>(u.v)[i] = v;
    reinterpret_cast<P*>(u.p)[i] = p;
  }
#pragma unroll
  for (int k = 0; k < averages_together; ++k) {
    if (k >= u.averages) break;
    P e = reinterpret_cast<const P*>(u.average[k])[i];
    const T rate = T(u.rate[k]);
    for (int j = 0; j < width; ++j) e.x[j] += rate * (p.x[j] - e.x[j]);
    reinterpret_cast<P*>(u.average[k])[i] = e;
  }
}

template <class T, int width, bool update>
__global__ void adamw_kernel(Update<T> u) {
  const double scale = u.clip->scale;
  if (!is_finite(scale)) return;
  Now<T> now{T(scale), T(0), T(0), T(0)};
  if constexpr (update) now = {T(scale), T(u.step->keep), T(u.step->step_size), T(u.step->root_correction)};
  const Count packs = u.n / width, rest = u.n - packs * width;
  for (Count i = first_element(); i < packs; i += element_step()) step<T, width, update>(u, now, i);
  if (width > 1 && first_element() < rest) step<T, 1, update>(u, now, packs * width + first_element());
}

template <class T>
bool aligned(const Update<T>& u) {
  const auto fits = [](const T* x) { return reinterpret_cast<std::uintptr_t>(x) % access_bytes == 0; };
  bool all = fits(u.p) && fits(u.g) && fits(u.m) && fits(u.v);
  for (int k = 0; k < u.averages; ++k) all = all && fits(u.average[k]);
  return all;
}

template <class T, int width>
void run(const Update<T>& u) {
  const dim3 grid = grid_for(u.n, width);
  if (u.g)
    launch(current_stream(), grid, dim3(threads_per_block), 0, adamw_kernel<T, width, true>, u);
  else
    launch(current_stream(), grid, dim3(threads_per_block), 0, adamw_kernel<T, width, false>, u);
}

template <class T>
void adamw(const AdamWTensors<T>& t, const AdamWScalars<T>& s) {
  if (t.n <= 0) return;
  Update<T> u{.p = t.p, .g = t.g, .m = t.m, .v = t.v, .s = s, .step = t.step, .clip = t.clip, .average = {}, .rate = nullptr, .averages = 0, .n = t.n};
  int done = 0;
  while (u.g || done < t.average_count) {
    u.rate = t.average_rates + done;
    for (u.averages = 0; u.averages < averages_together && done < t.average_count; ++u.averages, ++done)
      u.average[u.averages] = t.averages[done];
    if (aligned(u))
      run<T, static_cast<int>(access_bytes / sizeof(T))>(u);
    else
      run<T, 1>(u);
    u.g = nullptr;
  }
}

// One thread adds the few squares, in the order of the CPU; loads run ahead of the additions.
__global__ void clip_kernel(const double* squares, Count n, double scale, double limit, AdamWClip* out) {
  if (first_element() > 0) return;
  double sum = 0;
  for (Count i = 0; i < n; ++i) sum += squares[i];
  *out = clipped(scale * math::sqrt(sum), scale, limit);
}

void clip(const double* squares, Count n, double scale, double limit, AdamWClip* out) {
  launch(current_stream(), dim3(1), dim3(1), 0, clip_kernel, squares, n, scale, limit, out);
}

}  // namespace

const OptimizerKernels& optimizer_kernels() {
  static constexpr OptimizerKernels table{clip, adamw<float>, adamw<double>};
  return table;
}

}  // namespace fm::cuda
