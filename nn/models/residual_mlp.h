// A deeper generator network for points and vectors: residual blocks whose norms are modulated by times and label (adaLN), as in the head that MAR
// draws its tokens with (Li et al. 2024, "Autoregressive Image Generation without Vector Quantization"), with one time or two.
//
//   c = silu( W_t phi(t) [+ W_r phi(t - s)] [+ label] ),      phi as in flow_mlp.h
//   h = W_in z,      h += a MLP( (1 + g) LN(h) + b )  for each block, (b, g, a) = Linear(c),      u = W_out ( (1 + g) LN(h) + b )
//
// MLP(x) = fc2 silu(fc1 x) of the blocks' width; LN has no weights. The modulations and W_out are 0 initially, so a fresh network gives 0.
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
    v("frequencies", frequencies, "sines, and equally many cosines, in the embedding of a time", range(1, 65536));
    v("lowest", lowest, "lowest angular frequency of the time embedding", above(0));
    v("highest", highest, "highest angular frequency of the time embedding", above(0));
    v("classes", classes, "number of labels, and one more is added for 'no label'; 0: the network takes no labels", range(0, 1e7));
    v("mean_flow", mean_flow, "two times (s, t) instead of one");
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

  // ConfigError when the config breaks a rule, or highest < lowest.
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

  // Like FlowMlp: x (B, ...) with `dim` numbers a row, t (B), labels (B) or undefined -> velocity of x's shape. ShapeError for other shapes;
  // ConfigError for labels without classes, and for two times without config.mean_flow.
  Var operator()(const Var& x, const Var& t, const Tensor& labels) const;
  Var operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const;

 private:
  template <class M> friend M clone(const M& module);
  ResidualMlp(const ResidualMlp&) = default;
  Var forward(const Var& x, const Var& t, const std::optional<Var>& gap, const Tensor& labels) const;
};

}  // namespace fm
