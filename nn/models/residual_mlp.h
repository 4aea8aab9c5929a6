// A deeper generator network for points and vectors, with one time or two: residual blocks whose norms are modulated by times and label (adaLN), as in
// the head that samples tokens in MAR (Li et al. 2024, "Autoregressive Image Generation without Vector Quantization").
//
//   c = silu( W_t phi(t) [+ W_r phi(t - s)] [+ label] ),      phi as in flow_mlp.h
//   h = W_in z,      h += a MLP( (1 + g) LN(h) + b )  for each block, (b, g, a) = Linear(c),      u = W_out ( (1 + g) LN(h) + b )
//
// MLP(x) = fc2 silu(fc1 x), with the blocks' width as hidden width. LN has no weights. Modulations and W_out are initially 0, so a new network gives 0.
#pragma once

#include <optional>
#include <vector>

#include "nn/config/visit.h"
#include "nn/layers/embedding.h"
#include "nn/layers/mlp.h"
#include "nn/layers/modulation.h"
#include "nn/layers/norm.h"

namespace fm {

struct ResidualMlpConfig {
  std::int64_t dim = 2;
  std::int64_t width = 256, depth = 4;
  std::int64_t frequencies = 8;
  double lowest = 0.5, highest = 10;         // angular frequencies
  std::int64_t classes = 0;
  bool mean_flow = false;

  template <class V> void visit(V&& v) {
    v("dim", dim, "numbers in one sample", range(1, 1e6));
    v("width", width, "width of the blocks", range(1, 65536));
    v("depth", depth, "residual blocks", range(1, 1024));
    v("frequencies", frequencies, "number of sines, and of cosines, in the embedding of a time", range(1, 65536));
    v("lowest", lowest, "lowest angular frequency of the time embedding", above(0));
    v("highest", highest, "highest angular frequency of the time embedding", above(0));
    v("classes", classes, "number of labels, to which the network adds one for 'no label'; 0: the network takes no labels", range(0, 1e7));
    v("mean_flow", mean_flow, "a flow map u(z, s, t) with two times; false: a velocity v(z, t) with one");
  }
};

struct ResidualMlpBlock {
  LayerNorm norm;
  Mlp mlp;
  Modulation modulation;

  explicit ResidualMlpBlock(std::int64_t width) : norm(width, 1e-6, false), mlp(width, width, Activation::silu), modulation(width, 3) {}
  template <class V> void visit(V&& v) {
    v("mlp", mlp);
    v("adaLN_modulation", modulation);
  }
  Var operator()(const Var& h, const Var& condition) const;       // (B, width) each
};

struct ResidualMlp {
  ResidualMlpConfig config;
  Buffer frequencies;                            // (F)
  Linear in, t_embedder;
  std::optional<Linear> r_embedder;              // absent with one time
  std::optional<LabelEmbed> y_embedder;          // absent without classes
  std::vector<ResidualMlpBlock> blocks;
  LayerNorm norm;
  Modulation modulation;                         // before `out`
  Linear out;

  // ConfigError if the config breaks a rule, or if highest < lowest.
  explicit ResidualMlp(const ResidualMlpConfig& config, std::uint64_t seed = 0);
  ResidualMlp(ResidualMlp&&) = default;          // clone() copies
  ResidualMlp& operator=(ResidualMlp&&) = default;
  template <class V> void visit(V&& v) {
    v("frequencies", frequencies);
    v("in", in);
    v("t_embedder", t_embedder);
    v("r_embedder", r_embedder);
    v("y_embedder", y_embedder);
    v("blocks", blocks);
    v("adaLN_modulation", modulation);
    v("out", out);
  }
  void reset(const Init& init);

  // As in FlowMlp: the velocity, of x's shape. x is (B, ...) with `dim` numbers per row, t is (B), labels are (B) or undefined. ShapeError for other
  // shapes; ConfigError for labels if classes = 0, and for two times without config.mean_flow.
  Var operator()(const Var& x, const Var& t, const Tensor& labels) const;
  Var operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const;

 private:
  template <class M> friend M clone(const M& module);
  ResidualMlp(const ResidualMlp&) = default;
  Var forward(const Var& x, const Var& t, const std::optional<Var>& gap, const Tensor& labels) const;
};

}  // namespace fm
