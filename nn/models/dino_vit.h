// ViT-S/8 of DINO (Caron et al. 2021), frozen, as the features of RAE's discriminator (sources: mfrae.md 3.4). Its names are those of Meta's file
// dino_vit_small_patch8_224.pth.
//
//   h = [cls, patches] + pos,   h += Attn(LN h),  h += W2 f(W1 LN h)  in each block,   f the tanh form of GELU
//
// Images of any size are resized to 224 pixels by bilinear interpolation (without antialiasing) and normalized with ImageNet's mean and deviation.
#pragma once

#include <filesystem>

#include "nn/checkpoint.h"
#include "nn/layers/attention.h"
#include "nn/layers/mlp.h"
#include "nn/layers/patch.h"
#include "nn/models/dino_discriminator.h"

namespace fm {

struct DinoVitConfig {
  std::int64_t image_size = 224, patch_size = 8, width = 384, depth = 12, heads = 6, mlp_width = 1536;
  std::int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size); }
};

struct DinoVitBlock {
  LayerNorm norm1, norm2;
  FusedAttention attention;
  Mlp mlp;

  explicit DinoVitBlock(const DinoVitConfig& c);
  template <class V> void visit(V&& v) {
    v("norm1", norm1);
    v("attn", attention);
    v("norm2", norm2);
    v("mlp", mlp);
  }
  Var operator()(const Var& x) const;            // (B, 1+N, width) -> (B, 1+N, width)
};

struct DinoVit {
  DinoVitConfig config;
  Parameter cls_token, positions;                // (1,1,width), (1,1+N,width)
  PatchEmbed patch_embed;
  std::vector<DinoVitBlock> blocks;
  LayerNorm norm;                                // stored in the file; the maps are not normalized

  explicit DinoVit(const DinoVitConfig& config, std::uint64_t seed = 0);
  DinoVit(DinoVit&&) = default;                  // clone() copies
  DinoVit& operator=(DinoVit&&) = default;
  template <class V> void visit(V&& v) {
    v("cls_token", cls_token);
    v("pos_embed", positions);
    v("patch_embed.proj", patch_embed);
    v("blocks", blocks);
    v("norm", norm);
  }
  void reset(const Init& init);                  // N(0, 0.02^2) for positions and cls

  // Images (B,3,H,W) in [-1, 1] -> the maps (B,width,N) after blocks_of_maps(depth), without the class token. ShapeError unless there are 3 channels.
  std::vector<Var> maps(const Var& images) const;
  // Sets the biases of all keys to 0, as the published discriminator does. (In exact arithmetic they have no effect on attention.)
  void zero_key_biases();

 private:
  template <class M> friend M clone(const M& module);
  DinoVit(const DinoVit&) = default;
};

// The frozen network of a file, with key biases of 0. FileError names what does not fit.
DinoVit load_dino_vit(const std::filesystem::path& file, const Warn& warn, const DinoVitConfig& config = {});

}  // namespace fm
