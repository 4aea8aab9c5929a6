// DiT, the diffusion transformer on latents of an autoencoder (Peebles & Xie 2023), which SiT (Ma et al. 2024) uses as a velocity v(z, t), and its
// variant with two times for MeanFlow (Geng et al. 2025):
//
//   c = T(t) [+ R(t - s)] + label,    x = patches(z) W_x + pos,    x = block_i(x; c),    out = W_o ((1+g) LN(x) + b),  (b, g) = Linear(silu c)
//   block(x; c):  (b1, g1, a1, b2, g2, a2) = Linear(silu c);  x += a1 Attn((1+g1) LN(x) + b1);  x += a2 MLP((1+g2) LN(x) + b2)
//
// with a LayerNorm without weights and a GELU in its tanh form. Names, shapes and initial values are those of the published code; R is called
// r_embedder, although its input is t - s, as in the PyTorch code of MeanFlow that the MF-RAE paper cites. Early versions of that code have no R and
// condition on T(s) + T(t) (`shared_times`).
//
// REG (Wu et al. 2025) adds a token in front of the patches, made of a vector k, the class token of DINOv2, which is noised with the same t:
//
//   x = [ LN(W_k k) ; patches(z) W_x ] + pos,    velocity of k = W_c ((1+g) LN(x_0) + b)
//
// Its network is a joint velocity of (z, k). Facts: sdvae-sit.md 2.1, 2.2, 2.5, 3.1.
#pragma once

#include "nn/config/visit.h"
#include "nn/layers/attention.h"
#include "nn/layers/embedding.h"
#include "nn/layers/mlp.h"
#include "nn/layers/modulation.h"
#include "nn/layers/patch.h"
#include "nn/precision.h"

namespace fm {

// The values of DitConfig::origin (nn/models/dit_weights.h).
inline std::vector<std::string> dit_origins() { return {"auto", "sit", "repa", "mean_flow"}; }

struct DitConfig {
  std::int64_t input_size = 32, channels = 4, patch_size = 2;
  std::int64_t width = 1152, depth = 28, heads = 16;
  double mlp_ratio = 4;
  std::int64_t classes = 1000;
  double time_scale = 1;
  bool mean_flow = false;
  bool recompute = false;
  std::string precision = "f32", origin = "auto";
  // Twice as many channels of output, of which DiT trains the second half as the variance of its steps and SiT ignores it. Not a key of configs: it is
  // for published networks, and trainings have no use for it.
  bool learn_sigma = false;
  // With mean_flow: no r_embedder; T embeds both times. Not a key either: for files of early versions of MeanFlow's PyTorch code.
  bool shared_times = false;
  // Numbers of REG's class token, 768 in published files; 0: none. Not a key: it follows from the weights, and no network with one is trained here.
  std::int64_t class_token = 0;

  template <class V> void visit(V&& v) {
    v("input_size", input_size, "height and width of the latent", range(1, 4096));
    v("channels", channels, "channels of the latent", range(1, 65536));
    v("patch_size", patch_size, "latent positions per axis that a token spans", range(1, 4096), divides(input_size, "input_size"));
    v("width", width, "width of the network, a multiple of 4", range(4, 65536));
    v("depth", depth, "number of blocks", range(1, 1024));
    v("heads", heads, "attention heads", range(1, 1024), divides(width, "width"));
    v("mlp_ratio", mlp_ratio, "hidden width of the MLPs as a multiple of the width", range(0.25, 64));
    v("classes", classes, "number of labels; the network adds one for 'no label'", range(0, 1e7));
    v("time_scale", time_scale, "factor of times before they are embedded: 1 as in SiT and MeanFlow, 1000 as in some other code", range(0.001, 1e6));
    v("mean_flow", mean_flow, "a flow map u(z, s, t) with two times; false: a velocity v(z, t) with one");
    v("recompute", recompute, "activations inside blocks are recomputed in the backward pass instead of kept: less memory, one more forward pass");
    v("precision", precision, "type of products and activations: f32, or bf16 with the residual stream, norms and embeddings in f32",
      one_of({"f32", "bf16"}));
    v("origin", origin,
      "code that wrote a published file, if its tensors leave it open: sit (time 1 is data), repa (time 0 is data; also REG), mean_flow; auto: decided by the tensors",
      ChoiceRule{dit_origins()});
  }

  std::int64_t side() const { return input_size / patch_size; }          // tokens along each axis
  std::int64_t patches() const { return side() * side(); }
  std::int64_t tokens() const { return patches() + (class_token > 0 ? 1 : 0); }
  std::int64_t hidden_width() const { return static_cast<std::int64_t>(mlp_ratio * static_cast<double>(width)); }
  std::int64_t out_channels() const { return learn_sigma ? 2 * channels : channels; }
};

// Returns the config if it keeps all rules. Else ConfigError that names the field, its value and the rule.
DitConfig checked(const DitConfig& config);

struct AdaLnBlock {
  LayerNorm norm1, norm2;                        // without weights
  FusedAttention attn;
  Mlp mlp;
  Modulation modulation;

  AdaLnBlock(std::int64_t width, std::int64_t heads, std::int64_t hidden);
  template <class V> void visit(V&& v) {
    v("attn", attn);
    v("mlp", mlp);
    v("adaLN_modulation", modulation);
  }
  void reset(const Init& init);                  // Xavier's uniform weights, biases 0
  Var operator()(const Var& x, const Var& activated) const;              // x (B,N,C); condition after its SiLU, (B,C)
};

struct AdaLnFinalLayer {                         // Linear(LN(x) (1 + scale) + shift)
  LayerNorm norm;
  Linear out;
  std::optional<Linear> linear_cls;              // REG: the layer of the class token, in place of `out`
  Modulation modulation;

  AdaLnFinalLayer(std::int64_t width, std::int64_t out_width, std::int64_t class_token = 0);
  template <class V> void visit(V&& v) {
    v("linear", out);
    v("linear_cls", linear_cls);
    v("adaLN_modulation", modulation);
  }
  void reset(const Init&);                       // a fresh model predicts zero
  Var operator()(const Var& x, const Var& activated, DType result) const;
  // Of the first token alone, (B,N,C) -> (B,class_token), and of the other tokens. Needs linear_cls.
  std::pair<Var, Var> with_class_token(const Var& x, const Var& activated, DType result) const;
};

// The velocities of a network with a class token.
struct JointVelocity {
  Var latent;                                    // of the latent's shape
  Var class_token;                               // (B, class_token)
};

struct Dit {
  DitConfig config;
  Parameter position_table;                      // (1,N,width), frozen
  PatchEmbed x_embedder;
  TimestepEmbedding t_embedder;
  std::optional<TimestepEmbedding> r_embedder;
  LabelEmbed y_embedder;
  std::vector<AdaLnBlock> blocks;
  AdaLnFinalLayer final_layer;
  std::optional<Linear> class_projector;         // REG: from the class token to the width
  std::optional<LayerNorm> class_norm;           // REG: of the projected class token

  explicit Dit(const DitConfig& config, std::uint64_t seed = 0);
  Dit(Dit&&) = default;                          // clone() copies
  Dit& operator=(Dit&&) = default;
  template <class V> void visit(V&& v) {
    v("pos_embed", position_table);
    v("x_embedder.proj", x_embedder);
    v("t_embedder", t_embedder);
    v("r_embedder", r_embedder);
    v("y_embedder", y_embedder);
    v("blocks", blocks);
    v("final_layer", final_layer);
    v("cls_projectors2", class_projector);
    v("wg_norm", class_norm);
  }
  void reset(const Init& init);

  // Velocity, of x's shape; with mean_flow the instantaneous velocity u(x, t, t). x is (B,C,h,h); t (B) is in [0,1], where 1 is noise; labels are i32
  // or i64 (B), from 0 to `classes`, which is "no label". An undefined tensor of labels means no label for all rows. ConfigError for a network with a
  // class token, which has no velocity of a latent alone.
  Var operator()(const Var& x, const Var& t, const Tensor& labels) const;
  // Average velocity from t back to s <= t; needs mean_flow. Its derivative along (w, 0, 1) is d/dt on the path with velocity w.
  Var operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const;
  // All channels of the output, (B, out_channels, h, h): with learn_sigma more than the velocity.
  Var all_channels(const Var& x, const Var& t, const Tensor& labels) const;
  // Velocities of latent and class token (B, class_token), both noised with the same t. ConfigError without class_token in the config.
  JointVelocity joint(const Var& x, const Var& class_token, const Var& t, const Tensor& labels) const;

 private:
  template <class M> friend M clone(const M& module);
  Dit(const Dit&) = default;
  Var times(const Var& t) const;                 // embeds one time; with mean_flow, s = t
  Var times(const Var& s, const Var& t) const;
  Var forward(const Var& x, const Var& embedded_times, const Tensor& labels) const;
  Var condition(const Var& embedded_times, const Tensor& labels, DType type) const;
  Var patch_tokens(const Var& x, std::int64_t rows) const;            // without positions. ShapeError for a latent of another shape
  Var through_blocks(const Var& tokens, const Var& activated) const;  // adds positions first
  Var to_latent(const Var& tokens) const;
  Var velocity(const Var& channels) const;
  Var run_block(std::size_t i, const Var& x, const Var& activated) const;
};

}  // namespace fm
