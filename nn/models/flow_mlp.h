// The smallest generator network: an MLP for points and short vectors, with one time (a velocity) or two (a flow map).
//
//   phi(t) = [ sin(w_1 t), ..., sin(w_F t), cos(w_1 t), ..., cos(w_F t) ],       w_k from `lowest` to `highest` in equal ratios
//   h = W_in [ z, phi(t), phi(t - s) ] + b_in [+ label],      h = W_i silu(h) + b_i   (depth - 1 times),      u = W_out silu(h) + b_out
//
// With one time phi(t - s) is left out. Frequencies are fixed, and most of them are low: the network is differentiated in t, and its derivative grows
// with the frequencies. Frequencies in equal steps double the error of a MeanFlow's map (docs/decisions.md, "Science"). Initial values are
// PyTorch's for linear layers; label vectors are N(0, 0.02^2), as in DiT^DH.
#pragma once

#include <optional>
#include <vector>

#include "nn/config/visit.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"

namespace fm {

struct FlowMlpConfig {
  std::int64_t dim = 2;
  std::int64_t width = 128, depth = 3;
  std::int64_t frequencies = 8;
  double lowest = 0.5, highest = 10;
  std::int64_t classes = 0;
  bool mean_flow = false;

  template <class V> void visit(V&& v) {
    v("dim", dim, "numbers in one sample", range(1, 1e6));
    v("width", width, "width of the hidden layers", range(1, 65536));
    v("depth", depth, "hidden layers", range(1, 1024));
    v("frequencies", frequencies, "number of sines, and of cosines, in the embedding of a time", range(1, 65536));
    v("lowest", lowest, "lowest angular frequency of the time embedding", above(0));
    v("highest", highest, "highest angular frequency of the time embedding", above(0));
    v("classes", classes, "number of labels, to which the network adds one for 'no label'; 0: the network takes no labels", range(0, 1e7));
    v("mean_flow", mean_flow, "a flow map u(z, s, t) with two times; false: a velocity v(z, t) with one");
  }

  std::int64_t inputs() const { return dim + 2 * frequencies * (mean_flow ? 2 : 1); }      // width of the first layer's input
};

struct FlowMlp {
  FlowMlpConfig config;
  Buffer frequencies;                            // (F)
  Linear in;
  std::vector<Linear> hidden;                    // depth - 1
  Linear out;
  std::optional<LabelEmbed> y_embedder;          // absent without classes

  // ConfigError if the config breaks a rule, or if highest < lowest.
  explicit FlowMlp(const FlowMlpConfig& config, std::uint64_t seed = 0);
  FlowMlp(FlowMlp&&) = default;                  // clone() copies
  FlowMlp& operator=(FlowMlp&&) = default;
  template <class V> void visit(V&& v) {
    v("frequencies", frequencies);
    v("in", in);
    v("hidden", hidden);
    v("out", out);
    v("y_embedder", y_embedder);
  }

  // Velocity, of x's shape; with mean_flow u(x, t, t). x is (B, ...) with `dim` numbers per row, t is (B), labels are i32 or i64 (B), from 0 to
  // `classes`, which is "no label". An undefined tensor of labels means no label for all rows. ShapeError for other shapes; ConfigError for labels
  // if classes = 0.
  Var operator()(const Var& x, const Var& t, const Tensor& labels) const;
  // Average velocity from t back to s <= t. ConfigError unless config.mean_flow.
  Var operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const;

 private:
  template <class M> friend M clone(const M& module);
  FlowMlp(const FlowMlp&) = default;
  Var forward(const Var& x, const Var& t, const std::optional<Var>& gap, const Tensor& labels) const;
};

}  // namespace fm
