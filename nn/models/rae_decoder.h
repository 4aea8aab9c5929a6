// The decoder of RAE: a plain pre-norm ViT that turns latent tokens into image patches (MAE's decoder; names of the published checkpoints).
//
//   h = [cls, z W + b] + pos,   h += Attn(LN h),  h += W2 gelu(W1 LN h)  in each layer,   patches = LN(h) W_out + b_out, without the cls row
#pragma once

#include "nn/config/visit.h"
#include "nn/layers/vit_block.h"
#include "nn/precision.h"

namespace fm {

struct RaeDecoderConfig {
  std::int64_t latent_channels = 768, latent_size = 16;                 // tokens: latent_size^2
  std::int64_t width = 1152, depth = 28, heads = 16, mlp_width = 4096;
  std::int64_t patch_size = 16, image_channels = 3;
  double eps = 1e-12;
  std::string precision = "f32";

  template <class V> void visit(V&& v) {
    v("latent_channels", latent_channels, "channels of the latent", range(1, 65536));
    v("latent_size", latent_size, "height and width of the latent", range(1, 4096));
    v("width", width, "width of the decoder", range(1, 65536));
    v("depth", depth, "layers of the decoder", range(1, 1024));
    v("heads", heads, "attention heads of the decoder", range(1, 1024), divides(width, "width"));
    v("mlp_width", mlp_width, "hidden width of the decoder's MLP", range(1, 1e6));
    v("patch_size", patch_size, "side, in pixels, of the square patch that each token is decoded to", range(1, 4096));
    v("image_channels", image_channels, "channels of the image", range(1, 1024));
    v("eps", eps, "epsilon of the layer norms", above(0));
    v("precision", precision, "type of products and activations: f32, or bf16 with the residual stream, norms and embeddings in f32",
      one_of({"f32", "bf16"}));
  }
};

struct RaeDecoderLayer : VitBlock {
  explicit RaeDecoderLayer(const RaeDecoderConfig& c) : VitBlock(c.width, c.heads, c.mlp_width, c.eps, false) {}
  template <class V> void visit(V&& v) { visit_hf_vit(v); }
};

struct RaeDecoder {
  RaeDecoderConfig config;
  Parameter positions, cls_token;                // (1,1+N,width), initially sine-cosine with zeros for cls; (1,1,width), initially zero
  Linear embed;
  std::vector<RaeDecoderLayer> layers;
  LayerNorm norm;
  Linear predict;

  explicit RaeDecoder(const RaeDecoderConfig& config, std::uint64_t seed = 0);
  RaeDecoder(RaeDecoder&&) = default;            // clone() copies
  RaeDecoder& operator=(RaeDecoder&&) = default;
  template <class V> void visit(V&& v) {
    v("decoder_pos_embed", positions);
    v("trainable_cls_token", cls_token);
    v("decoder_embed", embed);
    v("decoder_layers", layers);
    v("decoder_norm", norm);
    v("decoder_pred", predict);
  }
  void reset(const Init& init);

  // Latent tokens (B,N,C), row-major over the latent -> image (B,channels,size,size), normalized like the encoder's input: the caller multiplies by the
  // deviation of images and adds their mean.
  Var operator()(const Var& tokens) const { return image_of(rows(tokens)); }
  // The two parts of the decoder, for losses that need gradients of the last layer: the normalized rows (B,1+N,width), and the image of these rows.
  Var rows(const Var& tokens) const;
  Var image_of(const Var& rows) const;

 private:
  template <class M> friend M clone(const M& module);
  RaeDecoder(const RaeDecoder&) = default;
};

}  // namespace fm
