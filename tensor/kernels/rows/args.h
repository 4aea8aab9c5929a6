// Arguments of the row programs, shared by the CPU and CUDA back ends. Arrays are row-major and contiguous unless a leading dimension is
// given; sizes are in elements. A null tangent is the symbolic zero; a null gradient is not computed. T is the type of the computation, of
// statistics and of sums over rows. S is the type of activations: T, or bf16 with T = float (half.h). X is the type of the residual stream, which
// norms read and gated additions read and write: S, or float with S = bf16.
#pragma once

#include <cstdint>

namespace fm::rows {

// Per-sample (or per-token) rows that modulate the rows of an activation: activation row r uses modulation row r / share. share = 1: one
// per token; share = N: one per sample of N tokens. `ld` lets a modulation be a slice of a wider matrix, say of (rows, 6 W).
struct Modulation {
  std::int64_t share = 1;
  std::int64_t ld = 0;
};

// y = (h w + b) (1 + scale) + shift with h = (x - mean) rstd: layer norm (biased variance, rstd = 1/sqrt(var + eps)) or RMS norm (mean = 0,
// var = mean(x^2)). weight, bias, scale and shift may each be null; bias needs weight and shift needs scale.
template <class T, class S = T, class X = S>
struct Norm {
  std::int64_t rows = 0, width = 0;
  T eps = T(1e-6);
  const X* x = nullptr;       // (rows, width)
  const T* weight = nullptr;  // (width)
  const T* bias = nullptr;    // (width)
  const S* scale = nullptr;   // modulation rows
  const S* shift = nullptr;
  Modulation modulation;
  T* mean = nullptr;          // (rows) written by value, read by push and pull; unused by RMS norm
  T* rstd = nullptr;          // (rows)
};

// y = act((x - mean) rstd w[c] + b[c]) for images (batch, groups * channels, pixels): a row is a group of `channels` neighboring channels of one image.
// weight and bias may each be null. act is SiLU or the identity.
template <class T, class X>
struct GroupNorm {
  std::int64_t rows = 0, groups = 1, channels = 1, pixels = 1;
  T eps = T(1e-6);
  const X* x = nullptr;       // (rows, channels * pixels)
  const T* weight = nullptr;  // (groups * channels)
  const T* bias = nullptr;
  bool silu = false;
  T* mean = nullptr;          // (rows), written
  T* rstd = nullptr;
};

template <class T, class S = T, class X = S>
struct NormPush {
  const X* dx = nullptr;
  const T *dweight = nullptr, *dbias = nullptr;
  const S *dscale = nullptr, *dshift = nullptr;
  std::int64_t ld = 0;        // leading dimension of dscale and dshift
  S* dy = nullptr;            // (rows, width)
};

template <class T, class S = T, class X = S>
struct NormPull {
  const S* gy = nullptr;      // (rows, width)
  X* gx = nullptr;
  T *gweight = nullptr, *gbias = nullptr, *gscale = nullptr, *gshift = nullptr;
  std::int64_t ld = 0;        // leading dimension of gscale and gshift
  T* workspace = nullptr;     // norm_workspace() elements if gweight or gbias is requested
};

// Weight gradients are summed in blocks of whole modulation groups, whose number depends on the sizes only. The sums of the blocks are added in
// order.
inline std::int64_t norm_block_rows(std::int64_t rows, std::int64_t share) {
  const std::int64_t wanted = rows > 32 * 128 ? (rows + 127) / 128 : 32;
  return (wanted + share - 1) / share * share;
}
inline std::int64_t norm_workspace(std::int64_t rows, std::int64_t width, std::int64_t share) {
  const std::int64_t block = norm_block_rows(rows, share);
  return (rows + block - 1) / block * 2 * width;
}

// y = x + gate h, gate by modulation row.
template <class S, class X = S>
struct Gated {
  std::int64_t rows = 0, width = 0;
  const X* x = nullptr;                // (rows, width)
  const S* h = nullptr;                // (rows, width)
  const S* gate = nullptr;             // modulation rows
  Modulation modulation;
};

// Cross-entropy of logits x (rows, classes) with integer labels, or with soft labels p (rows, classes): exactly one of the two is given.
// loss_r = -sum_k p_rk log_softmax(x_r)_k. The caller checks that labels lie in [0, classes).
template <class T>
struct CrossEntropy {
  std::int64_t rows = 0, classes = 0;
  const T* x = nullptr;
  const std::int64_t* labels = nullptr;
  const T* p = nullptr;
  T *top = nullptr, *sum = nullptr;    // (rows) max x and sum e^(x - max): written by value, read by push and pull
};

// Rotary position embedding of rows x (batch, tokens, parts, heads, dim), dim even: the first `rotated` parts are rotated, the others copied
// (q and k of a packed qkv: parts = 3, rotated = 2). cosine and sine are (tokens, dim), with each angle twice in succession.
template <class T>
struct Rope {
  std::int64_t batch = 0, tokens = 0, parts = 3, rotated = 2, heads = 0, dim = 0;
  const T *cosine = nullptr, *sine = nullptr;
};

}  // namespace fm::rows
