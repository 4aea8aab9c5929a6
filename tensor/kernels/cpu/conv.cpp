// The three products of a convolution, per image s with P output pixels and K = in_channels * kernel_h * kernel_w:
//
//   y  (O, P) = w (O, K) patches (K, P)
//   patches'  = w^T (K, O) gy (O, P), then added up into gx
//   gw (O, K) = sum over images of gy (O, P) patches^T (P, K)
//
// Patches are built for a block of pixels at a time, about a megabyte, never for a whole batch.
#include "tensor/kernels/cpu/conv.h"

#include <omp.h>

#include <new>

#include "tensor/kernels/cpu/conv_patches.h"
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

template <class T>
Patches<T> patches_of(const Plan& plan, const T* image, Range channels, Range pixels) {
  if (plan.direct) return {image + channels.begin * plan.pixels + pixels.begin, plan.pixels};
  T* buffer = patch_buffer<T>(channels.size() * plan.taps * pixels.size());
  gather_patches(plan.s, image, channels, pixels, buffer);
  return {buffer, pixels.size()};
}

template <class T>
void add_bias(const T* bias, T* y, Int channels, Int ld, Int count, bool accumulate) {
  for (Int o = 0; o < channels; ++o, y += ld)
    for (Int p = 0; p < count; ++p) y[p] = (accumulate ? y[p] : T(0)) + bias[o];
}

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, bool accumulate) {
  const Plan plan(s);
  const Int block = plan.block(), blocks = ceil_div(plan.pixels, block);
  for_each_task(s.batch * blocks, plan.work, [&](Int task) {
    const Int sample = task / blocks, begin = task % blocks * block;
    const Range pixels{begin, smaller(plan.pixels, begin + block)};
    const Patches<T> patches = patches_of(plan, x + sample * plan.image, {0, s.in_channels}, pixels);
    T* out = y + sample * plan.output + begin;
    if (bias) add_bias(bias, out, s.out_channels, plan.pixels, pixels.size(), accumulate);
    GemmArgs<T, T> g{s.out_channels, pixels.size(), plan.k, w, plan.k, false, patches.data, patches.ld, false, out, plan.pixels};
    g.accumulate = accumulate || bias;
    product(g);
  });
}

// A task owns some channels of one image of gx, so that overlapping patches are added by one thread, in order.
template <class T>
void grad_input(const ConvShape& s, const T* gy, const T* w, T* gx, bool accumulate) {
  const Plan plan(s);
  if (plan.image == 0) return;
  const Int wanted = ceil_div(least_tasks, larger(1, s.batch));
  const Int group = larger(1, ceil_div(s.in_channels, wanted)), groups = ceil_div(s.in_channels, group);
  const Int block = plan.block();
  for_each_task(s.batch * groups, plan.work, [&](Int task) {
    const Int sample = task / groups, first = task % groups * group;
    const Range channels{first, smaller(s.in_channels, first + group)};
    const Int rows = channels.size() * plan.taps;
    T* image = gx + sample * plan.image;
    T* own = image + first * s.height * s.width;
    if (!accumulate && !plan.direct)
      for (Int i = 0; i < channels.size() * s.height * s.width; ++i) own[i] = 0;
    for (Int begin = 0; begin < plan.pixels; begin += block) {
      const Range pixels{begin, smaller(plan.pixels, begin + block)};
      T* patches = plan.direct ? own + begin : patch_buffer<T>(rows * pixels.size());
      GemmArgs<T, T> g{rows,  pixels.size(), s.out_channels, w + first * plan.taps, plan.k, true, gy + sample * plan.output + begin, plan.pixels,
                       false, patches,       plan.direct ? plan.pixels : pixels.size()};
      g.accumulate = plan.direct && accumulate;
      product(g);
      if (!plan.direct) scatter_patches(s, patches, channels, pixels, image);
    }
  });
}

// A task owns some rows and columns of gw and adds up all images for them, in order.
template <class T>
void grad_weight(const ConvShape& s, const T* x, const T* gy, T* gw, bool accumulate) {
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
    GemmArgs<T, T> g{smaller(rows, s.out_channels - row), channels.size() * plan.taps, 0, gy, plan.pixels, false, x, 1, true, own, plan.k};
    g.accumulate = accumulate;
    if (s.batch == 0 || plan.pixels == 0) product(g);
    for (Int sample = 0; sample < s.batch; ++sample)
      for (Int begin = 0; begin < plan.pixels; begin += block) {
        const Range pixels{begin, smaller(plan.pixels, begin + block)};
        const Patches<T> patches = patches_of(plan, x + sample * plan.image, channels, pixels);
        g.k = pixels.size();
        g.a = gy + sample * plan.output + row * plan.pixels + begin;
        g.b = patches.data;
        g.ldb = patches.ld;
        product(g);
        g.accumulate = true;
      }
  });
}

}  // namespace

const ConvKernels& conv_kernels() {
  static constexpr ConvKernels table{{forward<float>, grad_input<float>, grad_weight<float>},
                                     {forward<double>, grad_input<double>, grad_weight<double>}};
  return table;
}

}  // namespace fm::cpu::FM_ISA
