// Streaming attention: softmax(scale q k^T) v for each (batch, head), its tangent in the same sweep, and its gradients. Scores exist in tiles only,
// never for a whole head of a long sequence. CPU threads share the heads of all batch entries; results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace fm::kernels {

// Element (b, h, n, d) is data[b batch + h head + n token + d]. A packed (B, N, 3, H, D) qkv has batch = N 3 H D, head = D,
// token = 3 H D, and k and v start H D and 2 H D elements later.
template <class T>
struct Heads {
  T* data = nullptr;
  std::int64_t batch = 0, head = 0, token = 0;
  T* at(std::int64_t b, std::int64_t h) const { return data + b * batch + h * head; }
};

template <class T>
struct Attention {
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0, dim = 0;
  T scale = T(1);
  Heads<const T> q, k, v;  // (B, H, Nq | Nk | Nk, D)
  Heads<T> o;              // (B, H, Nq, D): written by forward, read by backward
  // (B, H, 2, Nq), written by forward (unless null), read by backward: the maximum of the scaled scores in units of log 2, and the sum of
  // 2^(score - maximum). They are not combined into a log sum exp, whose rounding would be a relative error of every probability.
  T* sums = nullptr;
};

// Tangents of the inputs (null data stand for zero), and the destination for the tangent of o.
template <class T>
struct AttentionTangent {
  Heads<const T> dq, dk, dv;
  Heads<T> d_o;
};

// Gradient of o, and the destinations for the gradients of the inputs. They are overwritten; a gradient with null data is not computed.
template <class T>
struct AttentionGradient {
  Heads<const T> go;
  Heads<T> gq, gk, gv;
};

template <class T>
struct AttentionTable {
  void (*forward)(const Attention<T>&);
  void (*forward_tangent)(const Attention<T>&, const AttentionTangent<T>&);
  void (*backward)(const Attention<T>&, const AttentionGradient<T>&);
};

struct AttentionKernels {
  AttentionTable<float> f32;
  AttentionTable<double> f64;
  template <class T> const AttentionTable<T>& of() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    else return f64;
  }
};

}  // namespace fm::kernels
