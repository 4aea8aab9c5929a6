// AutoencoderKL, the autoencoder of latent diffusion (Rombach et al. 2022, arXiv:2112.10752), known as SD-VAE: images (B,3,H,W) in [-1,1] <-> latents
// (B,4,H/8,W/8). The default config is kl-f8, that of stabilityai/sd-vae-ft-ema and -mse; names are those of diffusers. sdvae-sit.md 1 has the facts.
//
//   encoder   conv - levels - middle - group norm, SiLU, conv; every level but the last halves H and W
//   level     resnets:  x + conv(silu(norm(conv(silu(norm x)))))       middle: resnet, attention with one head, resnet
//   decoder   conv - middle - levels with one resnet more - group norm, SiLU, conv; every level but the last doubles H and W
//
// The encoder gives mean and log-variance of a normal distribution for each number of the latent. A generator models z = scale (mean + std n), with
// n ~ N(0, I) drawn anew at every use of an image, and its samples are decoded by decode(z / scale). Pixels are not clamped.
//
// With precision = "bf16" the images between resnets, to which every resnet adds, are f32, and convolutions read bf16 (nn/precision.h).
//
// Widths of the attention's head above 256 (512 in kl-f8) exceed what the GPU's attention takes. There the matrix of scores, (h w)^2 numbers for each
// image, lies in memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/config/visit.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/precision.h"

namespace fm {

struct AutoencoderKLConfig {
  std::int64_t image_channels = 3, latent_channels = 4;
  std::vector<std::int64_t> widths{128, 256, 512, 512};
  std::int64_t resnets = 2, groups = 32;
  double eps = 1e-6, scale = 0.18215;
  std::string precision = "f32";

  template <class V> void visit(V&& v) {
    v("image_channels", image_channels, "channels of the image", range(1, 1024));
    v("latent_channels", latent_channels, "channels of the latent", range(1, 65536));
    v("widths", widths, "channels of each level, the highest resolution first; each level but the last halves height and width", range(1, 65536));
    v("resnets", resnets, "residual blocks of a level of the encoder; the decoder has one more", range(1, 1024));
    v("groups", groups, "groups of channels of the group norms; divides all widths", range(1, 65536));
    v("eps", eps, "epsilon of the group norms", above(0));
    v("scale", scale, "factor between the sampled latent and what a generator models; 0: not known, and measured on the training latents", at_least(0));
    v("precision", precision, "type of convolutions and activations: f32, or bf16 with f32 sums, norms and images between residual blocks",
      one_of({"f32", "bf16"}));
  }

  std::int64_t factor() const { return std::int64_t{1} << (widths.size() - 1); }       // side, in pixels, of the square that an element of the latent covers
};

struct VaeResnet {
  GroupNorm norm1, norm2;
  Conv2d conv1, conv2;
  std::optional<Conv2d> conv_shortcut;           // 1x1, if the width changes
  std::string precision;

  VaeResnet(std::int64_t in, std::int64_t out, const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("norm1", norm1);
    v("conv1", conv1);
    v("norm2", norm2);
    v("conv2", conv2);
    v("conv_shortcut", conv_shortcut);
  }
  Var operator()(const Var& x) const;            // (B,in,H,W) -> (B,out,H,W)
};

struct VaeAttention {                            // x + to_out(softmax(q k^T / sqrt(C)) v) over the positions, with q, k, v from the normalized x
  GroupNorm group_norm;
  Linear to_q, to_k, to_v, to_out;
  std::string precision;

  VaeAttention(std::int64_t width, const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("group_norm", group_norm);
    v("to_q", to_q);
    v("to_k", to_k);
    v("to_v", to_v);
    v("to_out.0", to_out);
  }
  Var operator()(const Var& x) const;            // (B,C,H,W) -> (B,C,H,W)
};

struct VaeMiddle {                               // resnet, attention, resnet
  std::vector<VaeAttention> attentions;
  std::vector<VaeResnet> resnets;

  VaeMiddle(std::int64_t width, const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("attentions", attentions);
    v("resnets", resnets);
  }
  Var operator()(const Var& x) const;
};

// The convolution after a level. Down: stride 2, with one row of zeros below and one column of zeros on the right (not on all sides). Up: after each
// pixel is repeated in a block of 2x2.
struct VaeResample {
  Conv2d conv;
  std::string precision;

  VaeResample(std::int64_t width, bool down, const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) { v("conv", conv); }
  Var operator()(const Var& x) const;            // (B,C,H,W) -> (B,C,H/2,W/2), rounded down, or (B,C,2H,2W)
};

struct VaeLevel {
  std::vector<VaeResnet> resnets;
  std::vector<VaeResample> resamplers;           // one, or none in the last level
  bool down;

  VaeLevel(std::int64_t in, std::int64_t out, std::int64_t count, bool last, bool down, const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("resnets", resnets);
    v(down ? "downsamplers" : "upsamplers", resamplers);
  }
  Var operator()(Var x) const;                   // frees x as soon as it is used
};

struct VaeEncoder {
  Conv2d conv_in;
  std::vector<VaeLevel> down_blocks;
  VaeMiddle mid_block;
  GroupNorm conv_norm_out;
  Conv2d conv_out;
  std::string precision;

  explicit VaeEncoder(const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("conv_in", conv_in);
    v("down_blocks", down_blocks);
    v("mid_block", mid_block);
    v("conv_norm_out", conv_norm_out);
    v("conv_out", conv_out);
  }
  Var operator()(const Var& image) const;        // (B,image_channels,H,W) -> (B,2 latent_channels,H/factor,W/factor)
};

struct VaeDecoder {
  Conv2d conv_in;
  std::vector<VaeLevel> up_blocks;               // the lowest resolution first
  VaeMiddle mid_block;                           // runs before up_blocks; listed after them, as published
  GroupNorm conv_norm_out;
  Conv2d conv_out;
  std::string precision;

  explicit VaeDecoder(const AutoencoderKLConfig& c);
  template <class V> void visit(V&& v) {
    v("conv_in", conv_in);
    v("up_blocks", up_blocks);
    v("mid_block", mid_block);
    v("conv_norm_out", conv_norm_out);
    v("conv_out", conv_out);
  }
  Var operator()(const Var& latent) const;       // (B,latent_channels,h,w) -> (B,image_channels,factor h,factor w)
};

// The posterior N(mean, std^2) of a latent, (B,latent_channels,h,w) each, with its log-variance clamped to [-30, 20].
struct DiagonalGaussian {
  Var mean, log_variance;

  explicit DiagonalGaussian(const Var& moments); // (B,2C,h,w): mean | log-variance. ShapeError unless the number of channels is even
  Var std() const;
  Var sample(const Var& noise) const;            // mean + std noise, with noise ~ N(0, I) of the mean's shape
};

struct AutoencoderKL {
  AutoencoderKLConfig config;
  VaeEncoder encoder;
  VaeDecoder decoder;
  Conv2d quant_conv, post_quant_conv;            // 1x1, on the moments and on the latent

  // ConfigError if the config breaks a rule or `groups` does not divide a width.
  explicit AutoencoderKL(const AutoencoderKLConfig& config, std::uint64_t seed = 0);
  AutoencoderKL(AutoencoderKL&&) = default;      // clone() copies
  AutoencoderKL& operator=(AutoencoderKL&&) = default;
  template <class V> void visit(V&& v) {
    v("encoder", encoder);
    v("decoder", decoder);
    v("quant_conv", quant_conv);
    v("post_quant_conv", post_quant_conv);
  }

  // Images (B,image_channels,H,W) in [-1,1] -> (B,2 latent_channels,H/factor,W/factor): mean and unclamped log-variance, as latent caches store them.
  // ShapeError for another number of channels, or unless `factor` divides H and W.
  Var moments(const Var& images) const;
  DiagonalGaussian posterior(const Var& images) const { return DiagonalGaussian(moments(images)); }
  // Latents (B,latent_channels,h,w), already divided by `scale`, -> images (B,image_channels,factor h,factor w), not clamped.
  Var decode(const Var& latents) const;

 private:
  template <class M> friend M clone(const M& module);
  AutoencoderKL(const AutoencoderKL&) = default;
};

}  // namespace fm
