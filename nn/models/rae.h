// RAE: a frozen representation encoder, a decoder trained to undo it, and the statistics that make its latents of unit variance (Zheng et al.
// 2025). Latents (B, C, h, w) are what generators model; images are (B, channels, H, W) in [0, 1].
//
//   encode(x) = (E((R x - m)/d) - mean) / sqrt(var + 1e-5)        decode(z) = d D(z sqrt(var + 1e-5) + mean) + m
//
// R resizes to the encoder's input size: PyTorch's bicubic without antialiasing, not clamped. Facts: mfrae.md 1.1, 1.5.
#pragma once

#include "nn/models/vit_encoder.h"
#include "nn/models/rae_decoder.h"

namespace fm {

struct RaeConfig {
  VitEncoderConfig encoder;
  RaeDecoderConfig decoder;
  std::int64_t input_size = 0;
  std::vector<double> image_mean{0.5}, image_std{0.5};
  template <class V> void visit(V&& v) {
    v("encoder", encoder, "the frozen vision transformer");
    v("decoder", decoder, "from latent tokens to pixels");
    v("input_size", input_size, "side that images are resized to before the encoder; 0: as they are", range(0, 65536), unit("pixels"));
    v("image_mean", image_mean, "subtracted before the encoder: one for all channels, or one a channel");
    v("image_std", image_std, "divides before the encoder: one for all channels, or one a channel", above(0));
  }
};

// Element-wise mean and variance over a data set, both of a latent's shape (C, h, w).
struct LatentStats {
  Tensor mean, variance;
  bool defined() const { return variance.defined(); }
  Tensor normalise(const Tensor& z) const;         // (B, C, h, w); Error when there are no statistics
  Tensor restore(const Tensor& z) const;           // likewise
};

struct Rae {
  RaeConfig config;
  VitEncoder encoder;
  RaeDecoder decoder;
  LatentStats stats;

  // ConfigError when the decoder does not take the encoder's channels, or means or deviations are neither one nor one a channel.
  explicit Rae(const RaeConfig& c, std::uint64_t seed = 0);
  template <class V> void visit(V&& v) {
    v("encoder", encoder);
    v("decoder", decoder);
  }

  std::int64_t latent_channels() const { return config.encoder.width; }
  std::int64_t latent_size() const { return config.decoder.latent_size; }

  Var tokens(const Var& images) const;             // (B, N, C): patch tokens as the encoder gives them, images resized and normalised
  Var pixels(const Var& tokens) const;             // (B, N, C) -> images, not clamped

  // Without history, in batches: for data sets and samples.
  Tensor encode(const Tensor& images) const;       // -> (B, C, h, w), raw: statistics not applied
  Tensor decode(const Tensor& latents) const;      // normalised latents -> images, clamped to [0, 1]
};

// (x - mean)/std of images (B, channels, H, W), and back.
Var normalised(const Var& images, const RaeConfig& c);
Var restored(const Var& images, const RaeConfig& c);

// (B, N, C) <-> (B, C, h, w), token n = row w + column
Tensor tokens_to_grid(const Tensor& tokens);
Tensor grid_to_tokens(const Tensor& latents);

}  // namespace fm
