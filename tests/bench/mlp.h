// The simplest flow map, for step.cpp: the latent passes through linear layers, each followed by a GELU. Times and label enter once, at the start.
//
//   h = in z + te(t) (+ re(t - s)) + Y[y];   h = gelu(W_i h), i = 1 .. depth;   u = out h
#pragma once

#include <optional>
#include <vector>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/layers/embedding.h"
#include "nn/models/dit_dh.h"
#include "nn/precision.h"

namespace fm::bench {

struct Mlp {
  std::string precision;
  Linear in, out;
  GaussianFourierEmbedding t_embedder;
  std::optional<GaussianFourierEmbedding> r_embedder;
  LabelEmbed y_embedder;
  std::vector<Linear> layers;

  // Takes width, depth, input size, classes, precision and number of times from `c`.
  explicit Mlp(const DitDhConfig& c)
      : precision(c.precision),
        in(c.channels * c.input_size * c.input_size, c.width),
        out(c.width, c.channels * c.input_size * c.input_size),
        t_embedder(c.width),
        y_embedder(c.classes, c.width) {
    if (c.mean_flow) r_embedder.emplace(c.width);
    for (std::int64_t i = 0; i < c.depth; ++i) layers.emplace_back(c.width, c.width);
  }
  template <class V> void visit(V&& v) {
    v("in", in);
    v("t_embedder", t_embedder);
    v("r_embedder", r_embedder);
    v("y_embedder", y_embedder);
    v("layers", layers);
    v("out", out);
  }

  Var operator()(const Var& z, const Var& t, const Tensor& y) const { return forward(z, t_embedder(t), y); }
  Var operator()(const Var& z, const Var& s, const Var& t, const Tensor& y) const { return forward(z, t_embedder(t) + (*r_embedder)(t - s), y); }

 private:
  Var forward(const Var& z, const Var& time, const Tensor& y) const {
    const DType type = block_type(precision, z);
    const std::int64_t rows = z.dim(0);
    Var h = in(cast(reshape(z, {rows, z.value().numel() / rows}), type)) + cast(time + y_embedder(y), type);
    for (const Linear& layer : layers) h = gelu(layer(h));
    return reshape(cast(out(h), z.dtype()), z.shape());
  }
};

}  // namespace fm::bench
