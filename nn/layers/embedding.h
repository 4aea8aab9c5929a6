// The conditions of a diffusion transformer: times and class labels, each as a vector (B, width).
#pragma once

#include "nn/layers/linear.h"

namespace fm {

// A scalar as random Fourier features through a small MLP:  a = 2 pi t W,  y = mlp.2(silu(mlp.0([sin a | cos a]))). The frequencies W are
// sampled once from N(0,1), frozen, and stored with the model. The embedding is differentiable in t.
struct GaussianFourierEmbedding {
  Parameter W;                                  // (frequencies)
  Linear first, second;

  GaussianFourierEmbedding() = default;
  explicit GaussianFourierEmbedding(std::int64_t width, std::int64_t frequencies = 256)
      : W(make_parameter({frequencies}, false)), first(2 * frequencies, width), second(width, width) {}
  template <class V> void visit(V&& v) {
    v("W", W);
    v("mlp.0", first);
    v("mlp.2", second);
  }
  void reset(const Init& init) { init.normal("W", W, 1.0); }

  Var operator()(const Var& t) const;           // (B) -> (B, width)
};

// A scalar as cosines and sines of fixed frequencies through a small MLP: the embedding of times of DiT (Peebles & Xie 2023), cosines first.
//   a_k = scale t f_k,   y = mlp.2(silu(mlp.0([cos a | sin a])))
// DiT's times are whole numbers up to 999. SiT and MeanFlow embed times of [0, 1] with scale 1, so that the fastest angle is t itself. The embedding
// is differentiable in t. The frequencies are f64 and not stored with the model: each call rounds them to the type of t.
struct TimestepEmbedding {
  Linear first, second;
  Tensor frequencies;                           // scale f_k

  static constexpr std::int64_t count = 128;
  static Tensor base_frequencies();             // f_k = 10000^(-k / 128), k = 0 .. 127; f64 (128)

  TimestepEmbedding() = default;
  TimestepEmbedding(std::int64_t width, double scale);
  template <class V> void visit(V&& v) {
    v("mlp.0", first);
    v("mlp.2", second);
  }
  void reset(const Init& init);                 // weights N(0, 0.02), biases 0

  Var operator()(const Var& t) const;           // (B) -> (B, width)
};

// A scalar as sines and cosines of fixed frequencies, without an MLP:
//   [ sin(w_1 t), ..., sin(w_F t), cos(w_1 t), ..., cos(w_F t) ],  w_k from `low` to `high` in equal ratios.
Tensor equal_ratios(double low, double high, std::int64_t n);               // (n); `low` alone for n = 1
Var sines_and_cosines(const Var& t, const Tensor& frequencies);             // (B), (F) -> (B, 2 F)

// One learned vector per class, and one more, with index `classes`, for "no label". The caller decides at random which labels are dropped in
// training: once per sample, so that a value and its derivative see the same label.
struct LabelEmbed {
  Parameter table;                              // (classes + 1, width)

  LabelEmbed() = default;
  LabelEmbed(std::int64_t classes, std::int64_t width) : table(make_parameter({classes + 1, width})) {}
  template <class V> void visit(V&& v) { v("embedding_table.weight", table); }
  void reset(const Init& init) { init.normal("embedding_table.weight", table, 0.02); }

  std::int64_t null_label() const { return table.value.dim(0) - 1; }
  Var operator()(const Tensor& labels) const;   // i32 or i64 (B) -> (B, width)
};

}  // namespace fm
