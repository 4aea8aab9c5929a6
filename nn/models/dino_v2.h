// The DINOv2 vision transformer with register tokens (Oquab et al. 2023; Darcet et al. 2023), under the names of Hugging Face's
// Dinov2WithRegisters. It is the frozen encoder of RAE and, with a smaller config, the network that DINO training trains.
//
//   h = [cls + pos_0, registers, patches + pos],   h += l1 Attn(LN h),  h += l2 W2 gelu(W1 LN h)  per layer,   LN(h)
//
// The position grid is resized to the image's (antialiased bicubic), so one model takes crops of several sizes. RAE drops the last norm's
// weight and bias (affine_norm = false): every latent token then has mean 0 and variance 1.
#pragma once

#include "nn/config/visit.h"
#include "nn/layers/patch.h"
#include "nn/layers/vit_block.h"
#include "nn/precision.h"

namespace fm {

struct DinoV2Config {
  std::int64_t image_size = 518, patch_size = 14, channels = 3;         // image_size: of the position grid
  std::int64_t width = 768, depth = 12, heads = 12, mlp_width = 3072, registers = 4;
  double layer_scale = 1.0;                                             // initial value; 0: no layer scale
  double eps = 1e-6;
  bool affine_norm = false;
  std::string precision = "f32";

  template <class V> void visit(V&& v) {
    v("image_size", image_size, "pixels per side that the position grid is for", range(1, 65536));
    v("patch_size", patch_size, "pixels a token spans, per side", range(1, 4096), divides(image_size, "image_size"));
    v("channels", channels, "channels of the image", range(1, 1024));
    v("width", width, "width of the encoder", range(1, 65536));
    v("depth", depth, "layers", range(1, 1024));
    v("heads", heads, "attention heads", range(1, 1024), divides(width, "width"));
    v("mlp_width", mlp_width, "hidden width of the MLP", range(1, 1e6));
    v("registers", registers, "register tokens", range(0, 1024));
    v("layer_scale", layer_scale, "initial layer scale; 0 for none", at_least(0));
    v("eps", eps, "of the layer norms", above(0));
    v("affine_norm", affine_norm, "weight and bias in the last norm");
    v("precision", precision, "what blocks compute in: f32, or bf16 with sums, norms and embeddings in f32", one_of({"f32", "bf16"}));
  }
};

struct DinoV2Layer : VitBlock {
  explicit DinoV2Layer(const DinoV2Config& c) : VitBlock(c.width, c.heads, c.mlp_width, c.eps, c.layer_scale != 0) {}
  template <class V> void visit(V&& v) {
    v("norm1", norm1);
    v("attention", attention);
    v("layer_scale1.lambda1", scale1);
    v("norm2", norm2);
    v("mlp", mlp);
    v("layer_scale2.lambda1", scale2);
  }
};

struct DinoV2Tokens {
  Var cls;                                       // (B,D)
  Var registers;                                 // (B,R,D); undefined without registers
  Var patches;                                   // (B,N,D), row-major
};

struct DinoV2 {
  DinoV2Config config;
  Parameter cls_token, mask_token, register_tokens, position_table;   // (1,1,D), (1,D), (1,R,D), (1,1+G G,D)
  PatchEmbed patch_embed;
  std::vector<DinoV2Layer> layers;
  LayerNorm norm;

  explicit DinoV2(const DinoV2Config& config, std::uint64_t seed = 0);
  template <class V> void visit(V&& v) {
    v("embeddings.cls_token", cls_token);
    v("embeddings.mask_token", mask_token);
    v("embeddings.register_tokens", register_tokens);
    v("embeddings.position_embeddings", position_table);
    v("embeddings.patch_embeddings.projection", patch_embed);
    v("encoder.layer", layers);
    v("layernorm", norm);
  }
  void reset(const Init& init);

  // Image (B,channels,H,W), normalised by the caller; H and W multiples of the patch size. Where mask (B,N) is not zero the patch is hidden
  // from the network behind mask_token.
  DinoV2Tokens encode(const Var& image, const Tensor& mask = {}) const;
  Var operator()(const Var& image) const { return encode(image).patches; }

 private:
  Var positions(std::int64_t rows, std::int64_t columns) const;       // of the patches, (1,rows columns,D)
};

}  // namespace fm
