// DiT^DH, the latent diffusion transformer of RAE (Zheng et al. 2025, "Diffusion Transformers with Representation Autoencoders"), and its
// variant with two times for MeanFlow. A deep narrow backbone computes a condition for every token from the noisy latent, t and the label. A
// shallow wide head predicts the velocity from the noisy latent and this condition:
//
//   te = T(t) [+ R(t - s)],  c = silu(te + label),  h = x W_s + pos,    h = block_i(h; c)         backbone, blocks 0 .. depth-1
//   k = P silu(te + h),      u = x W_x,             u = block_i(u; k),  out = final(u; k)         head, the last head_depth blocks
//   block(x; c):  (b1, g1, a1, b2, g2, a2) = Linear(silu c);  x += a1 Attn((1+g1) RMS(x) + b1);  x += a2 SwiGLU((1+g2) RMS(x) + b2)
//
// silu is applied twice to te + label: once in c, and again in every block. The published weights were trained this way. Names, shapes and initial values
// are those of the published checkpoints.
//
// late_s selects the two times of Decoupled MeanFlow (DMF; Lee et al. 2025): there is no R, and te is T(t) in the first two thirds of all blocks, T(s)
// in the other blocks and in k. So u(x, t, t) equals the one-time network with the same weights, and a velocity becomes a flow map without new weights.
//
// With axes = 1 the network models sequences (channels, length) in place of latents (channels, height, width). Patches, positions and rotations then
// have one axis. The weights of the patch embeddings have the shape (width, channels, patch), and tables have one row per token; names are the same.
#pragma once

#include "nn/config/visit.h"
#include "nn/layers/attention.h"
#include "nn/layers/embedding.h"
#include "nn/layers/mlp.h"
#include "nn/layers/modulation.h"
#include "nn/layers/patch.h"
#include "nn/precision.h"

namespace fm {

struct DitDhConfig {
  std::int64_t input_size = 16, input_width = 0, axes = 2, channels = 768, patch_size = 1;
  std::int64_t width = 1152, depth = 28, heads = 16;                     // backbone
  std::int64_t head_width = 2048, head_depth = 2, head_heads = 16;
  double mlp_ratio = 4;
  std::int64_t classes = 1000;
  bool qk_norm = false, rope = true, position_embed = true;
  bool mean_flow = false, late_s = false;
  bool recompute = false;
  std::string precision = "f32";

  template <class V> void visit(V&& v) {
    v("input_size", input_size, "height and width of the latent, or the length of a sequence", range(1, 1 << 20));
    v("input_width", input_width, "width of a latent that is not square; 0: input_size", range(0, 4096));
    v("axes", axes, "axes of a latent: 2 for (channels, height, width), 1 for sequences (channels, length)", range(1, 2));
    v("channels", channels, "channels of the latent", range(1, 65536));
    v("patch_size", patch_size, "latent positions per axis that a token spans", range(1, 4096), divides(input_size, "input_size"));
    v("width", width, "width of the backbone", range(1, 65536));
    v("depth", depth, "blocks in the backbone", range(1, 1024));
    v("heads", heads, "attention heads in the backbone", range(1, 1024), divides(width, "width"));
    v("head_width", head_width, "width of the head", range(1, 65536));
    v("head_depth", head_depth, "blocks in the head", range(1, 1024));
    v("head_heads", head_heads, "attention heads in the head", range(1, 1024), divides(head_width, "head_width"));
    v("mlp_ratio", mlp_ratio, "hidden width of a plain MLP as a multiple of the width; the SwiGLU layer, used in place of that MLP, has two thirds of its hidden width", range(0.25, 64));
    v("classes", classes, "number of labels; the network adds one for 'no label'", range(0, 1e7));
    v("qk_norm", qk_norm, "normalization of queries and keys, per attention head");
    v("rope", rope, "rotary position embedding of queries and keys");
    v("position_embed", position_embed, "sine-cosine positions added to the backbone's tokens");
    v("mean_flow", mean_flow, "a flow map u(z, s, t) with two times; false: a velocity v(z, t) with one");
    v("late_s", late_s,
      "with mean_flow: the first two thirds of the blocks see only t and the others only s, which needs no new weights (DMF); false: all see t and t - s");
    v("recompute", recompute, "activations inside blocks are recomputed in the backward pass instead of kept: less memory, one more forward pass");
    v("precision", precision, "type of products and activations: f32, or bf16 with the residual stream, norms and embeddings in f32",
      one_of({"f32", "bf16"}));
  }

  Shape input_shape() const;                                             // shape of one sample: (channels, height, width) or (channels, length)
  Shape grid() const;                                                    // tokens along each axis
  std::int64_t tokens() const { return grid().numel(); }
  bool splits_times() const { return mean_flow && late_s; }
  std::int64_t early_blocks() const;                                     // number of backbone blocks that see t; all of them unless late_s
  std::int64_t token_values() const { return channels * patch_size * (axes == 1 ? 1 : patch_size); }   // number of input values that a token spans
};

// Returns the config if it keeps all rules. Else ConfigError that names the field, its value and the rule.
DitDhConfig checked(const DitDhConfig& config);

// Sets axes, channels and sizes to those of a sample, (channels, length) or (channels, height, width). ConfigError if the sample has another rank, or
// if patch_size does not divide its sides. The message names `source`, the data.
void take_input_shape(DitDhConfig& config, const Shape& sample, const std::string& source);

struct DitBlock {
  RmsNorm norm1, norm2;
  FusedAttention attn;
  SwiGluFfn mlp;
  Modulation modulation;

  DitBlock(std::int64_t width, std::int64_t heads, double mlp_ratio, bool qk_norm);
  template <class V> void visit(V&& v) {
    v("norm1", norm1);
    v("norm2", norm2);
    v("attn", attn);
    v("mlp", mlp);
    v("adaLN_modulation", modulation);
  }
  // x (B,N,C); condition after its SiLU, (B,C) for all tokens or (B,N,C) for each.
  Var operator()(const Var& x, const Var& activated, const Tensor& rope_cos, const Tensor& rope_sin) const;
};

struct DitFinalLayer {                           // Linear(RMS(x) (1 + scale) + shift)
  RmsNorm norm;
  Linear out;
  Modulation modulation;

  DitFinalLayer() = default;
  DitFinalLayer(std::int64_t width, std::int64_t out_width) : norm(width), out(width, out_width), modulation(width, 2) {}
  template <class V> void visit(V&& v) {
    v("norm_final", norm);
    v("linear", out);
    v("adaLN_modulation", modulation);
  }
  void reset(const Init&) {                      // a fresh model predicts zero
    fill(out.weight, 0);
    fill(out.bias, 0);
  }
  Var operator()(const Var& x, const Var& activated, DType result) const;
};

struct DitDh {
  DitDhConfig config;
  Parameter position_table;                      // (1,N,width), frozen
  PatchEmbed x_embedder, s_embedder;
  std::optional<Linear> s_projector;             // absent when both widths are equal
  GaussianFourierEmbedding t_embedder;
  std::optional<GaussianFourierEmbedding> r_embedder;
  LabelEmbed y_embedder;
  DitFinalLayer final_layer;
  Buffer backbone_cos, backbone_sin, head_cos, head_sin;
  Buffer late_s;                                 // one number that marks the file of a flow map with late_s; undefined in other networks
  std::vector<DitBlock> blocks;                  // backbone, then head

  explicit DitDh(const DitDhConfig& config, std::uint64_t seed = 0);
  DitDh(DitDh&&) = default;                      // clone() copies
  DitDh& operator=(DitDh&&) = default;
  template <class V> void visit(V&& v) {
    v("pos_embed", position_table);
    v("x_embedder.proj", x_embedder);
    v("s_embedder.proj", s_embedder);
    v("s_projector", s_projector);
    v("t_embedder", t_embedder);
    v("r_embedder", r_embedder);
    v("y_embedder", y_embedder);
    v("final_layer", final_layer);
    v("enc_feat_rope.freqs_cos", backbone_cos);
    v("enc_feat_rope.freqs_sin", backbone_sin);
    v("dec_feat_rope.freqs_cos", head_cos);
    v("dec_feat_rope.freqs_sin", head_sin);
    v("late_s", late_s);
    v("blocks", blocks);
  }
  void reset(const Init& init);

  // Velocity, of x's shape; with mean_flow the instantaneous velocity u(x, t, t). x is (B,C,h,w) or (B,C,L); t (B) is in [0,1], where 1 is noise;
  // labels are i32 or i64 (B), from 0 to `classes`, which is "no label". An undefined tensor of labels means no label for all rows.
  Var operator()(const Var& x, const Var& t, const Tensor& labels) const;
  // Average velocity from t back to s <= t; needs mean_flow. Its derivative along (w, 0, 1) is d/dt on the path with velocity w.
  Var operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const;

 private:
  template <class M> friend M clone(const M& module);
  DitDh(const DitDh&) = default;
  Var forward(const Var& x, const Var& early, const Var& late, const Tensor& labels) const;
  Var run_block(std::size_t i, const Var& x, const Var& activated) const;
};

}  // namespace fm
