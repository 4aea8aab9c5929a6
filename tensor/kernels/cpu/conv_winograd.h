// Convolution with 3x3 kernels and stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016, arXiv:1509.09308, section 4.1): a tile of
// 4x4 output pixels takes 36 products for each pair of channels instead of 144,
//
//   y = A^T [ sum over channels of (G w G^T) * (B^T x B) ] A       with the elementwise product * of 6x6 matrices, x a patch of 6x6 pixels.
//
// The three transforms evaluate and interpolate polynomials at 0, +-5/8, +-3/2 and infinity. These points were chosen by their rounding errors: over
// 256 channels of normal numbers the largest error of a sum was 1.6 times that of the plain sum (1, 2 instead of 5/8, 3/2: 8 times).
//
// The sum over channels is one matrix product for each of the 36 points, (O, C) (C, tiles). Tiles are processed in blocks, so that the transformed
// patches of a block stay in the caches. Blocks depend on the sizes only, and the sum of an element does not depend on its block.
#pragma once

#include <omp.h>

#include <type_traits>
#include <utility>

#include "tensor/kernels/cpu/conv_patches.h"
#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/gemm_pack.h"
#include "tensor/kernels/cpu/scratch.h"

namespace fm::cpu::FM_ISA {
namespace {

struct Winograd {
  static constexpr Int out = 4, in = 6, points = in * in;      // pixels of a tile along an axis, pixels of its patch, products for a pair of channels
  static constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b;

  explicit Winograd(const ConvShape& shape) : s(shape), rows(ceil_div(s.out_height(), out)), columns(ceil_div(s.out_width(), out)) {
    width = smaller(columns, block_tiles());
    height = larger(1, smaller(rows * s.batch, block_tiles() / width));
  }

  // Depends on the sizes of one image only, so that an image has the same result in every batch.
  static bool pays(const ConvShape& s) {
    return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h <= 2 && s.pad_w <= 2 && s.out_height() >= 8 &&
           s.out_width() >= 8 && s.in_channels >= 16;
  }

  Int tiles() const { return width * height; }                                       // of the largest block
  Int across() const { return ceil_div(columns, width); }
  Int blocks() const { return ceil_div(rows * s.batch, height) * across(); }
  // From the values of a point to those of the next. The cache line that is added keeps the points out of the same sets of the caches.
  static Int step(Int elements) { return round_up(elements, 16) + 16; }
  Int weight_step() const { return step(s.out_channels * s.in_channels); }
  Int weights() const { return points * weight_step(); }
  Int patches() const { return points * step(s.in_channels * tiles()); }             // transformed patches of a block
  Int sums() const { return points * step(s.out_channels * tiles()); }
  Int line() const { return round_up(width + 1, 16) + 16; }                          // tiles of a row of a block, with space for the last vector
  Int own() const { return patches() + sums() + 2 * points * line(); }               // scratch memory of a thread

  const ConvShape& s;
  Int rows, columns;             // tiles of an image
  Int width, height;             // tiles of a block; rows of tiles of all images lie below one another

 private:
  static constexpr Int most_tiles = 64;
  // Small images have two blocks, for two threads at least. (Blocks of 32 tiles, which stay in L2 with 128 channels, are not faster for large ones.)
  Int block_tiles() const { return rows * columns > most_tiles ? most_tiles : most_tiles / 2; }
};

// Calls f(V{}, i) for [0, n) in vectors V of neighbors: the widest as long as they fit, then narrower ones down to a single float. (GCC does not
// vectorize loops whose bodies have arrays.)
template <int bytes = widest, class F>
FM_INLINE void in_vectors(Int n, const F& f, Int i = 0) {
  using V = std::conditional_t<bytes == 4, float, typename VectorOf<float, bytes>::type>;
  for (; i + bytes / 4 <= n; i += bytes / 4) f(V{}, i);
  if constexpr (bytes > 4) in_vectors<bytes == 16 ? 4 : bytes / 2>(n, f, i);
}

// v = B^T d
template <class V>
FM_INLINE void winograd_patch(const V* d, V* v) {
  using W = Winograd;
  const V even_a = d[4] - W::b2 * d[2], odd_a = W::a * (d[3] - W::b2 * d[1]);
  const V even_b = d[4] - W::a2 * d[2], odd_b = W::b * (d[3] - W::a2 * d[1]);
  v[0] = W::a2 * W::b2 * d[0] - (W::a2 + W::b2) * d[2] + d[4];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = W::a2 * W::b2 * d[1] - (W::a2 + W::b2) * d[3] + d[5];
}

// u = G g
template <class V>
FM_INLINE void winograd_weight(const V* g, V* u) {
  using W = Winograd;
  constexpr float c0 = 1 / (W::a2 * W::b2), ca = 1 / (2 * W::a2 * (W::a2 - W::b2)), cb = 1 / (2 * W::b2 * (W::b2 - W::a2));
  const V even_a = ca * (g[0] + W::a2 * g[2]), odd_a = ca * W::a * g[1], even_b = cb * (g[0] + W::b2 * g[2]), odd_b = cb * W::b * g[1];
  u[0] = c0 * g[0];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

// y = A^T m
template <class V>
FM_INLINE void winograd_sum(const V* m, V* y) {
  using W = Winograd;
  const V even_a = m[1] + m[2], odd_a = W::a * (m[1] - m[2]), even_b = m[3] + m[4], odd_b = W::b * (m[3] - m[4]);
  y[0] = m[0] + even_a + even_b;
  y[1] = odd_a + odd_b;
  y[2] = W::a2 * even_a + W::b2 * even_b;
  y[3] = W::a2 * odd_a + W::b2 * odd_b + m[5];
}

// The weights of a convolution, or those of its transpose: the input gradient is a convolution of gy with swapped channels and reversed kernels.
struct WinogradWeights {
  const float* w;
  Int out_step, in_step;         // elements from one output or input channel to the next
  bool reversed;
};

// u[point][o][c] for one output channel o
inline void transform_weights(const Winograd& g, const WinogradWeights& from, Int o, float* u) {
  const float* w = from.w + o * from.out_step;
  const Int channels = g.s.in_channels, step = g.weight_step(), first = from.reversed ? 8 : 0, sign = from.reversed ? -1 : 1;
  in_vectors(channels, [&]<class V>(V, Int c) {
    V taps[9], half[18], column[6], row[6];
    for (int i = 0; i < 9; ++i) {
      float values[sizeof(V) / 4];
      for (Int l = 0; l < Int(sizeof(V) / 4); ++l) values[l] = w[(c + l) * from.in_step + first + sign * i];
      taps[i] = load_vector<V>(values);
    }
    for (int v = 0; v < 3; ++v) {
      const V g3[3] = {taps[v], taps[3 + v], taps[6 + v]};
      winograd_weight(g3, column);
      for (int p = 0; p < 6; ++p) half[p * 3 + v] = column[p];
    }
    for (int p = 0; p < 6; ++p) {
      winograd_weight(half + p * 3, row);
      for (int q = 0; q < 6; ++q) store_vector(u + (p * 6 + q) * step + o * channels + c, row[q]);
    }
  });
}

using WideFloat = typename VectorOf<float, widest>::type;
constexpr int lanes = widest / 4;

// Splits a line of 4 n pixels into 4 lines of n: lines[j][t] = line[4 t + j]. n is a multiple of the vector's length.
FM_INLINE void split_line(const float* line, Int n, float* lines, Int step) {
  constexpr std::make_integer_sequence<int, lanes> all{};
  for (Int t = 0; t < n; t += lanes) {
    const float* p = line + 4 * t;
    const WideFloat x0 = load_vector<WideFloat>(p), x1 = load_vector<WideFloat>(p + lanes), x2 = load_vector<WideFloat>(p + 2 * lanes),
                    x3 = load_vector<WideFloat>(p + 3 * lanes);
    const WideFloat e0 = every_second<0>(x0, x1, all), e1 = every_second<0>(x2, x3, all), o0 = every_second<1>(x0, x1, all), o1 = every_second<1>(x2, x3, all);
    store_vector(lines + t, every_second<0>(e0, e1, all));
    store_vector(lines + step + t, every_second<0>(o0, o1, all));
    store_vector(lines + 2 * step + t, every_second<1>(e0, e1, all));
    store_vector(lines + 3 * step + t, every_second<1>(o0, o1, all));
  }
}

// Elements of x and y in turn: the first half of the result, or the second.
template <int half, class V, int... J>
FM_INLINE V in_turn(const V& x, const V& y, std::integer_sequence<int, J...>) {
  constexpr int n = sizeof...(J);
  return __builtin_shufflevector(x, y, (half * n / 2 + J / 2 + (J & 1) * n)...);
}

// The inverse of split_line.
FM_INLINE void join_lines(const float* lines, Int step, Int n, float* line) {
  constexpr std::make_integer_sequence<int, lanes> all{};
  for (Int t = 0; t < n; t += lanes) {
    const float* p = lines + t;
    const WideFloat x0 = load_vector<WideFloat>(p), x1 = load_vector<WideFloat>(p + step), x2 = load_vector<WideFloat>(p + 2 * step),
                    x3 = load_vector<WideFloat>(p + 3 * step);
    const WideFloat e0 = in_turn<0>(x0, x2, all), e1 = in_turn<1>(x0, x2, all), o0 = in_turn<0>(x1, x3, all), o1 = in_turn<1>(x1, x3, all);
    float* to = line + 4 * t;
    store_vector(to, in_turn<0>(e0, o0, all));
    store_vector(to + lanes, in_turn<1>(e0, o0, all));
    store_vector(to + 2 * lanes, in_turn<0>(e1, o1, all));
    store_vector(to + 3 * lanes, in_turn<1>(e1, o1, all));
  }
}

// Copies `count` pixels of a row of an image from column `begin` on, with zeros outside the image.
template <class X>
FM_INLINE void copy_pixels(const X* row, Int width, Int begin, Int count, float* line) {
  const Int first = smaller(larger(-begin, 0), count), last = larger(first, smaller(width - begin, count));
  for (Int i = 0; i < first; ++i) line[i] = 0;
#pragma omp simd
  for (Int i = first; i < last; ++i) line[i] = float(row[begin + i]);
  for (Int i = last; i < count; ++i) line[i] = 0;
}

// Transforms the patches of a row of n tiles of one channel: tile column `column` of tile row `row` of the image and its neighbors on the right.
// v[point * step + t]; `work` has 2 * points * line() elements.
template <class X>
void transform_patches(const Winograd& g, const X* plane, Int row, Int column, Int n, float* v, Int step, float* work) {
  const Int line = g.line(), used = round_up(n + 1, lanes);
  float* pixels = work + Winograd::points * line;              // one line of pixels
  float* lines = work;                                         // (6 rows, 4 columns), then after the transform of columns the same
  for (Int u = 0; u < Winograd::in; ++u) {
    const Int h = row * Winograd::out - g.s.pad_h + u;
    float* to = lines + u * 4 * line;
    if (h < 0 || h >= g.s.height) {
      for (Int i = 0; i < 4 * line; ++i) to[i] = 0;
      continue;
    }
    copy_pixels(plane + h * g.s.width, g.s.width, column * Winograd::out - g.s.pad_w, 4 * used, pixels);
    split_line(pixels, used, to, line);
  }
  for (Int q = 0; q < 4; ++q) {
    float* to = lines + q * line;
    in_vectors(used, [&]<class V>(V, Int t) {
      V d[6], r[6];
      for (int u = 0; u < 6; ++u) d[u] = load_vector<V>(to + u * 4 * line + t);
      winograd_patch(d, r);
      for (int u = 0; u < 6; ++u) store_vector(to + u * 4 * line + t, r[u]);
    });
  }
  for (Int u = 0; u < Winograd::in; ++u) {
    const float* from = lines + u * 4 * line;
    float* to = v + u * 6 * step;
    in_vectors(n, [&]<class V>(V, Int t) {
      V d[6], r[6];
      for (int q = 0; q < 6; ++q) d[q] = load_vector<V>(from + q % 4 * line + t + q / 4);
      winograd_patch(d, r);
      for (int q = 0; q < 6; ++q) store_vector(to + q * step + t, r[q]);
    });
  }
}

// Where the results of a channel go: y (+)= sum + bias.
template <class Y>
struct WinogradOutput {
  Y* plane;
  float bias;
  bool accumulate;
};

template <class Y>
FM_INLINE void write_pixels(const WinogradOutput<Y>& to, const float* line, Int count, Y* y) {
#pragma omp simd
  for (Int j = 0; j < count; ++j) y[j] = Y(line[j] + to.bias + (to.accumulate ? float(y[j]) : 0.0f));
}

// The inverse of transform_patches, for the sums m[point * step + t].
template <class Y>
void transform_sums(const Winograd& g, const float* m, Int step, Int row, Int column, Int n, const WinogradOutput<Y>& to, float* work) {
  const Int line = g.line(), used = round_up(n, lanes), width = g.s.out_width();
  float *half = work, *lines = work + 24 * line, *pixels = work + 28 * line;
  for (Int q = 0; q < 6; ++q) {
    in_vectors(n, [&]<class V>(V, Int t) {
      V d[6], r[4];
      for (int p = 0; p < 6; ++p) d[p] = load_vector<V>(m + (p * 6 + q) * step + t);
      winograd_sum(d, r);
      for (int i = 0; i < 4; ++i) store_vector(half + (i * 6 + q) * line + t, r[i]);
    });
  }
  const Int first = column * Winograd::out, count = smaller(width - first, n * Winograd::out);
  for (Int i = 0; i < Winograd::out && row * Winograd::out + i < g.s.out_height(); ++i) {
    in_vectors(n, [&]<class V>(V, Int t) {
      V d[6], r[4];
      for (int q = 0; q < 6; ++q) d[q] = load_vector<V>(half + (i * 6 + q) * line + t);
      winograd_sum(d, r);
      for (int j = 0; j < 4; ++j) store_vector(lines + j * line + t, r[j]);
    });
    join_lines(lines, line, used, pixels);
    write_pixels(to, pixels, count, to.plane + (row * Winograd::out + i) * width + first);
  }
}

// All three steps for block number `block`. u: transformed weights; own: scratch memory of g.own() elements.
template <class X, class Y>
void winograd_block(const Winograd& g, Int block, const X* x, const float* u, const float* bias, Y* y, bool accumulate, float* own) {
  const ConvShape& s = g.s;
  const Int column = block % g.across() * g.width, n = smaller(g.width, g.columns - column);
  const Int first = block / g.across() * g.height, last = smaller(first + g.height, g.rows * s.batch), tiles = (last - first) * n;
  const Int patch_step = Winograd::step(s.in_channels * tiles), sum_step = Winograd::step(s.out_channels * tiles);
  float *patches = own, *sums = patches + g.patches(), *work = sums + g.sums();
  for (Int c = 0; c < s.in_channels; ++c)
    for (Int r = first; r < last; ++r)
      transform_patches(g, x + (r / g.rows * s.in_channels + c) * s.height * s.width, r % g.rows, column, n, patches + c * tiles + (r - first) * n,
                        patch_step, work);
  GemmArgs<float, float> product{s.out_channels, tiles, s.in_channels, u, s.in_channels, false, patches, tiles, false, sums, tiles};
  product.batch = Winograd::points;
  product.stride_a = g.weight_step();
  product.stride_b = patch_step;
  product.stride_c = sum_step;
  gemm_kernels().f32(product);
  for (Int o = 0; o < s.out_channels; ++o)
    for (Int r = first; r < last; ++r) {
      Y* plane = y + (r / g.rows * s.out_channels + o) * s.out_height() * s.out_width();
      transform_sums(g, sums + o * tiles + (r - first) * n, sum_step, r % g.rows, column, n, WinogradOutput<Y>{plane, bias ? bias[o] : 0.0f, accumulate},
                     work);
    }
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
