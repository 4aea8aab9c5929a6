// The vision transformers that encode images for RAE, with the names and initial values of Hugging Face's models. With a smaller config, they are the
// network of DINO training.
//
//   h = [cls + pos_0, registers, patches + pos],   h += l1 Attn(LN h),  h += l2 W2 f(W1 LN h)  in each layer,   result LN(h)
//
//   kind      model                                                  cls   registers, l   f            position grid resized
//   dinov2    DINOv2 with registers (Oquab et al. 2023; Darcet et    yes   yes            GELU         antialiased bicubic
//             al. 2023), Dinov2WithRegistersModel
//   siglip2   the vision tower of SigLIP 2 (Tschannen et al. 2025),  no    no             GELU, tanh   bicubic
//             SiglipVisionTransformer without its pooling head
//   mae       the encoder of a masked autoencoder (He et al. 2022),  yes   no             GELU         bicubic
//             ViTMAEModel without a mask
//
// The grid of positions is resized to that of the image, so one model takes images of several sizes. RAE drops the weight and bias of the last norm
// (affine_norm = false): every latent token then has mean 0 and variance 1. Sources: mfrae.md 1.3 to 1.5.
#pragma once

#include "nn/config/visit.h"
#include "nn/layers/patch.h"
#include "nn/layers/vit_block.h"
#include "nn/precision.h"

namespace fm {

struct VitEncoderConfig {
  std::string kind = "dinov2";
  std::int64_t image_size = 518, patch_size = 14, channels = 3;         // image_size gives the grid of positions
  std::int64_t width = 768, depth = 12, heads = 12, mlp_width = 3072, registers = 4;
  double layer_scale = 1.0;                                             // initial value; 0: no layer scale
  double eps = 1e-6;
  bool affine_norm = false;
  std::string precision = "f32";

  template <class V> void visit(V&& v) {
    v("kind", kind, "architecture and names of tensors: DINOv2 with registers, SigLIP 2 or a masked autoencoder",
      one_of({"dinov2", "siglip2", "mae"}));
    v("image_size", image_size, "side, in pixels, of the images that the grid of positions fits; for other images the grid is resized", range(1, 65536));
    v("patch_size", patch_size, "side, in pixels, of the square patch that a token spans", range(1, 4096), divides(image_size, "image_size"));
    v("channels", channels, "channels of the image", range(1, 1024));
    v("width", width, "width of the encoder", range(1, 65536));
    v("depth", depth, "layers of the encoder", range(1, 1024));
    v("heads", heads, "attention heads of the encoder", range(1, 1024), divides(width, "width"));
    v("mlp_width", mlp_width, "hidden width of the encoder's MLP", range(1, 1e6));
    v("registers", registers, "number of register tokens; only for kind dinov2", range(0, 1024));
    v("layer_scale", layer_scale, "initial value of the layer scales; 0: no layer scale; only for kind dinov2", at_least(0));
    v("eps", eps, "epsilon of the layer norms", above(0));
    v("affine_norm", affine_norm, "weight and bias of the last norm; false: neither, as in RAE");
    v("precision", precision, "type of products and activations: f32, or bf16 with the residual stream, norms and embeddings in f32",
      one_of({"f32", "bf16"}));
  }

  // Properties that follow from the kind.
  bool is_dino() const { return kind == "dinov2"; }
  bool has_cls() const { return kind != "siglip2"; }
  bool has_layer_scale() const { return is_dino() && layer_scale != 0; }
  std::int64_t register_tokens() const { return is_dino() ? registers : 0; }
  std::int64_t grid() const { return image_size / patch_size; }
  std::int64_t positions() const { return grid() * grid() + (has_cls() ? 1 : 0); }
};

struct VitEncoderLayer : VitBlock {
  std::string kind;

  explicit VitEncoderLayer(const VitEncoderConfig& c);
  template <class V> void visit(V&& v) {
    if (kind == "siglip2") visit_siglip(v);
    else if (kind == "mae") visit_hf_vit(v);
    else visit_dino(v);
  }

 private:
  template <class V> void visit_dino(V& v) {
    v("norm1", norm1);
    v("attention", attention);
    v("layer_scale1.lambda1", scale1);
    v("norm2", norm2);
    v("mlp", mlp);
    v("layer_scale2.lambda1", scale2);
  }
  template <class V> void visit_siglip(V& v) {
    v("layer_norm1", norm1);
    v("self_attn.k_proj", attention.key);
    v("self_attn.v_proj", attention.value);
    v("self_attn.q_proj", attention.query);
    v("self_attn.out_proj", attention.output);
    v("layer_norm2", norm2);
    v("mlp", mlp);
  }
};

struct VitTokens {
  Var cls;                                       // (B,D); undefined without a class token
  Var registers;                                 // (B,R,D); undefined without registers
  Var patches;                                   // (B,N,D), row-major
};

struct VitEncoder {
  VitEncoderConfig config;
  Parameter cls_token, mask_token, register_tokens;                    // (1,1,D), (1,D), (1,R,D); undefined if the kind has none
  Parameter position_table;                                            // (1,1+G G,D), or (G G,D) for siglip2; frozen for mae
  PatchEmbed patch_embed;
  std::vector<VitEncoderLayer> layers;
  LayerNorm norm;

  // ConfigError if the config breaks a rule.
  explicit VitEncoder(const VitEncoderConfig& config, std::uint64_t seed = 0);
  VitEncoder(VitEncoder&&) = default;                                  // clone() copies
  VitEncoder& operator=(VitEncoder&&) = default;
  template <class V> void visit(V&& v) {
    const bool siglip = config.kind == "siglip2";
    v("embeddings.cls_token", cls_token);
    v("embeddings.mask_token", mask_token);
    v("embeddings.register_tokens", register_tokens);
    if (!siglip) v("embeddings.position_embeddings", position_table);
    v(siglip ? "embeddings.patch_embedding" : "embeddings.patch_embeddings.projection", patch_embed);
    if (siglip) v("embeddings.position_embedding.weight", position_table);
    v(siglip ? "encoder.layers" : "encoder.layer", layers);
    v(siglip ? "post_layernorm" : "layernorm", norm);
  }
  void reset(const Init& init);

  // The image is (B,channels,H,W), normalized by the caller, with H and W multiples of the patch size. A patch whose element of mask (B,N) is not zero
  // is replaced by mask_token. Only dinov2 has this token: a mask for another kind is a ConfigError.
  VitTokens encode(const Var& image, const Tensor& mask = {}) const;
  Var operator()(const Var& image) const { return encode(image).patches; }
  // The patch tokens (B,N,D) after some of the layers, which count from 0, before the last norm.
  std::vector<Var> patches_after(const Var& image, const std::vector<std::int64_t>& chosen) const;

 private:
  template <class M> friend M clone(const M& module);
  VitEncoder(const VitEncoder&) = default;
  Var positions(std::int64_t rows, std::int64_t columns) const;       // positions of the patches, (1,rows columns,D)
  Var embedded(const Var& image, const Tensor& mask) const;           // the tokens before the first layer, in the image's type
  Var after_layer(std::size_t i, const Var& h) const;
  void reset_dino(const Init& init);
  void reset_siglip(const Init& init);
  void reset_mae(const Init& init);
};

}  // namespace fm
