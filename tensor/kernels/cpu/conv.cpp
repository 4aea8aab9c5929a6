// The three products of a convolution, per image s with P output pixels and K = in_channels * kernel_h * kernel_w:
//
//   y  (O, P) = w (O, K) patches (K, P)
//   patches'  = w^T (K, O) gy (O, P), then added up into gx
//   gw (O, K) = sum over images of gy (O, P) patches^T (P, K)
//
// Patches are built for a block of pixels at a time, about a megabyte, never for a whole batch. 3x3 kernels with stride 1 in f32 take another way,
// conv_winograd.h, for y and gx. bf16 values are widened when they are gathered, and results are rounded when they are stored.
#include "tensor/kernels/cpu/conv.h"

#include <omp.h>

#include <new>
#include <type_traits>

#include "tensor/kernels/cpu/conv_patches.h"
#include "tensor/kernels/cpu/conv_winograd.h"
#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/scratch.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr Int block_elements = Int(1) << 18;      // elements of a block of the patch matrix
constexpr Int least_pixels = 64, most_pixels = 4096;
constexpr Int least_tasks = 16;                   // tasks that an input gradient is cut into, even for a single image
constexpr double worth_a_fork = 1e6;              // least multiply-adds for which all threads are used

void product(const GemmArgs<float, float>& g) { gemm_kernels().f32(g); }
void product(const GemmArgs<double, double>& g) { gemm_kernels().f64(g); }

template <class T>
T* patch_buffer(Int elements) {
  return static_cast<T*>(thread_scratch(elements * Int(sizeof(T)), Scratch::patches));
}

// Calls f(i) for i in [0, n): on all threads if each gets enough work, else on this thread, so that the products inside f use all threads.
template <class F>
FM_INLINE void for_each_task(Int n, double work, const F& f) {
  if (omp_in_parallel() || work < worth_a_fork || n < omp_get_max_threads()) {
    for (Int i = 0; i < n; ++i) f(i);
    return;
  }
  bool out_of_memory = false;                     // an exception must not leave a thread of the team
#pragma omp parallel for schedule(dynamic, 1)
  for (Int i = 0; i < n; ++i) {
    try {
      f(i);
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      out_of_memory = true;
    }
  }
  if (out_of_memory) throw std::bad_alloc();
}

// Sizes of a convolution that all three products need.
struct Plan {
  explicit Plan(const ConvShape& shape)
      : s(shape),
        taps(s.kernel_h * s.kernel_w),
        k(s.in_channels * taps),
        pixels(s.out_height() * s.out_width()),
        image(s.in_channels * s.height * s.width),
        output(s.out_channels * pixels),
        work(double(s.batch) * double(output) * double(k)),
        direct(taps == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0) {}

  // Pixels of a block. Depends on the sizes only, because it determines the order in which gradients are added.
  Int block() const {
    const Int fitting = block_elements / larger(1, k) / 32 * 32;
    return larger(1, smaller(pixels, smaller(most_pixels, larger(least_pixels, fitting))));
  }

  const ConvShape& s;
  Int taps, k, pixels;           // kernel_h * kernel_w, rows of the patch matrix, its columns
  Int image, output;             // elements of one x and of one y
  double work;                   // multiply-adds
  bool direct;                   // a 1x1 kernel: the image is its own patch matrix
};

// The patch matrix of some channels and pixels, with its leading dimension. If possible it is the image itself.
template <class T>
struct Patches {
  const T* data;
  Int ld;
};

// `buffer` has plan.taps elements for each channel and pixel.
template <class T, class X>
Patches<T> patches_of(const Plan& plan, const X* image, Range channels, Range pixels, T* buffer) {
  if constexpr (std::is_same_v<T, X>)
    if (plan.direct) return {image + channels.begin * plan.pixels + pixels.begin, plan.pixels};
  gather_patches(plan.s, image, channels, pixels, buffer);
  return {buffer, pixels.size()};
}

// Rows of a matrix in the type of the computation: the elements in memory themselves, or a copy of them in scratch memory.
template <class T>
struct Rows {
  T* data;
  Int ld;
};

template <class T, class Y>
FM_INLINE void copy_rows(const Y* from, Int ld, Int rows, Int count, T* to, Int to_ld) {
  for (Int i = 0; i < rows; ++i)
#pragma omp simd
    for (Int j = 0; j < count; ++j) to[i * to_ld + j] = T(from[i * ld + j]);
}

// `buffer` has rows * count elements.
template <class T, class Y>
Rows<const T> rows_of(const Y* from, Int rows, Int ld, Int count, T* buffer) {
  if constexpr (std::is_same_v<T, Y>) {
    return {from, ld};
  } else {
    copy_rows(from, ld, rows, count, buffer, count);
    return {buffer, count};
  }
}

// Where rows of a result are computed, with their old values if `load`. store_rows() rounds a copy back.
template <class T, class Y>
Rows<T> result_rows(Y* to, Int rows, Int ld, Int count, bool load) {
  if constexpr (std::is_same_v<T, Y>) {
    return {to, ld};
  } else {
    T* buffer = static_cast<T*>(thread_scratch(rows * count * Int(sizeof(T))));
    if (load) copy_rows(to, ld, rows, count, buffer, count);
    return {buffer, count};
  }
}

template <class T, class Y>
void store_rows(const Rows<T>& from, Y* to, Int rows, Int ld, Int count) {
  if constexpr (!std::is_same_v<T, Y>) copy_rows(from.data, from.ld, rows, count, to, ld);
}

template <class T>
void add_bias(const T* bias, T* y, Int channels, Int ld, Int count, bool accumulate) {
  for (Int o = 0; o < channels; ++o, y += ld)
    for (Int p = 0; p < count; ++p) y[p] = (accumulate ? y[p] : T(0)) + bias[o];
}

// Transforms the weights, then each task computes a block of tiles.
template <class X, class Y>
void winograd(const ConvShape& s, const X* x, const WinogradWeights& w, const float* bias, Y* y, bool accumulate) {
  const Winograd g(s);
  const bool serial = omp_in_parallel();
  const Int threads = serial ? 1 : omp_get_max_threads();
  float* memory = static_cast<float*>(thread_scratch((g.weights() + threads * g.own()) * Int(sizeof(float)), Scratch::patches));
  const double work = double(Winograd::points) * double(s.in_channels) * double(s.out_channels);
  for_each_task(s.out_channels, work, [&](Int o) { transform_weights(g, w, o, memory); });
  for_each_task(g.blocks(), work * double(g.tiles()) * double(g.blocks()), [&](Int block) {
    const Int thread = serial ? 0 : omp_get_thread_num();
    winograd_block(g, block, x, memory, bias, y, accumulate, memory + g.weights() + thread * g.own());
  });
}

template <class T, class X, class Y>
void forward(const ConvShape& s, const X* x, const T* w, const T* bias, Y* y, bool accumulate) {
  const Plan plan(s);
  if constexpr (std::is_same_v<T, float>)
    if (Winograd::pays(s)) return winograd(s, x, {w, plan.k, plan.taps, false}, bias, y, accumulate);
  const Int block = plan.block(), blocks = ceil_div(plan.pixels, block);
  for_each_task(s.batch * blocks, plan.work, [&](Int task) {
    const Int sample = task / blocks, begin = task % blocks * block;
    const Range pixels{begin, smaller(plan.pixels, begin + block)};
    T* buffer = patch_buffer<T>(plan.k * pixels.size());
    const Patches<T> patches = patches_of(plan, x + sample * plan.image, {0, s.in_channels}, pixels, buffer);
    Y* own = y + sample * plan.output + begin;
    const Rows<T> out = result_rows<T>(own, s.out_channels, plan.pixels, pixels.size(), accumulate);
    if (bias) add_bias(bias, out.data, s.out_channels, out.ld, pixels.size(), accumulate);
    GemmArgs<T, T> g{s.out_channels, pixels.size(), plan.k, w, plan.k, false, patches.data, patches.ld, false, out.data, out.ld};
    g.accumulate = accumulate || bias;
    product(g);
    store_rows(out, own, s.out_channels, plan.pixels, pixels.size());
  });
}

// A task owns some channels of one image of gx, so that overlapping patches are added by one thread, in order.
template <class T, class X, class Y>
void grad_input(const ConvShape& s, const Y* gy, const T* w, X* gx, bool accumulate) {
  const Plan plan(s);
  if (plan.image == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    const ConvShape t{s.batch, s.out_channels, s.out_height(), s.out_width(), s.in_channels, s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, 2 - s.pad_h, 2 - s.pad_w};
    if (t.pad_h >= 0 && t.pad_w >= 0 && Winograd::pays(t)) return winograd(t, gy, {w, plan.taps, plan.k, true}, nullptr, gx, accumulate);
  }
  const Int wanted = ceil_div(least_tasks, larger(1, s.batch));
  const Int group = larger(1, ceil_div(s.in_channels, wanted)), groups = ceil_div(s.in_channels, group);
  const Int block = plan.block(), plane = s.height * s.width;
  for_each_task(s.batch * groups, plan.work, [&](Int task) {
    const Int sample = task / groups, first = task % groups * group;
    const Range channels{first, smaller(s.in_channels, first + group)};
    const Int rows = channels.size() * plan.taps;
    X* own = gx + sample * plan.image + first * plane;
    const Rows<T> image = result_rows<T>(own, channels.size(), plane, plane, accumulate);
    if (!accumulate && !plan.direct)
      for (Int i = 0; i < channels.size() * plane; ++i) image.data[i] = 0;
    for (Int begin = 0; begin < plan.pixels; begin += block) {
      const Range pixels{begin, smaller(plan.pixels, begin + block)};
      const Y* from = gy + sample * plan.output + begin;
      T* buffer = patch_buffer<T>((rows + s.out_channels) * pixels.size());
      const Rows<const T> columns = rows_of(from, s.out_channels, plan.pixels, pixels.size(), buffer + rows * pixels.size());
      T* patches = plan.direct ? image.data + begin : buffer;
      GemmArgs<T, T> g{rows,  pixels.size(), s.out_channels, w + first * plan.taps, plan.k, true, columns.data, columns.ld,
                       false, patches,       plan.direct ? plan.pixels : pixels.size()};
      g.accumulate = plan.direct && accumulate;
      product(g);
      if (!plan.direct) scatter_patches(s, patches, {0, channels.size()}, pixels, image.data);
    }
    store_rows(image, own, channels.size(), plane, plane);
  });
}

// A task owns some rows and columns of gw and adds up all images for them, in order.
template <class T, class X, class Y>
void grad_weight(const ConvShape& s, const X* x, const Y* gy, T* gw, bool accumulate) {
  const Plan plan(s);
  const Int threads = omp_get_max_threads();
  const Int wanted = threads == 1 ? 1 : 2 * threads;
  const Int group = larger(1, ceil_div(s.in_channels, wanted)), groups = ceil_div(s.in_channels, group);
  const Int row_groups = groups >= threads ? 1 : ceil_div(wanted, larger(1, groups));       // few channels: split the rows as well
  const Int rows = larger(1, ceil_div(s.out_channels, row_groups));
  const Int row_tasks = ceil_div(s.out_channels, rows);
  const Int block = plan.block();
  for_each_task(groups * row_tasks, plan.work, [&](Int task) {
    const Int first = task / row_tasks * group, row = task % row_tasks * rows;
    const Range channels{first, smaller(s.in_channels, first + group)};
    T* own = gw + row * plan.k + first * plan.taps;
    GemmArgs<T, T> g{smaller(rows, s.out_channels - row), channels.size() * plan.taps, 0, nullptr, plan.pixels, false, nullptr, 1, true, own, plan.k};
    g.accumulate = accumulate;
    if (s.batch == 0 || plan.pixels == 0) product(g);
    for (Int sample = 0; sample < s.batch; ++sample)
      for (Int begin = 0; begin < plan.pixels; begin += block) {
        const Range pixels{begin, smaller(plan.pixels, begin + block)};
        const Int patch_elements = channels.size() * plan.taps * pixels.size();
        T* buffer = patch_buffer<T>(patch_elements + g.m * pixels.size());
        const Patches<T> patches = patches_of(plan, x + sample * plan.image, channels, pixels, buffer);
        const Rows<const T> left = rows_of(gy + sample * plan.output + row * plan.pixels + begin, g.m, plan.pixels, pixels.size(), buffer + patch_elements);
        g.k = pixels.size();
        g.a = left.data;
        g.lda = left.ld;
        g.b = patches.data;
        g.ldb = patches.ld;
        product(g);
        g.accumulate = true;
      }
  });
}

template <class T, class X = T, class Y = X>
constexpr ConvFunctions<T, X, Y> functions() {
  return {forward<T, X, Y>, grad_input<T, X, Y>, grad_weight<T, X, Y>};
}

}  // namespace

const ConvKernels& conv_kernels() {
  static constexpr ConvKernels table{functions<float>(), functions<double>(), functions<float, bf16>(), functions<float, bf16, float>()};
  return table;
}

}  // namespace fm::cpu::FM_ISA
