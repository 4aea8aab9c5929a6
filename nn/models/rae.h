// RAE: a frozen representation encoder and a decoder trained to undo it (Zheng et al. 2025). Images are (B, channels, H, W) in [0, 1], latents
// (B, C, h, w) are raw here; rae_space (flowmap/training/rae_space.h) adds the statistics that make them of unit variance, which generators model.
//
//   encode(x) = E((R x - m)/d)        decode(z) = d D(z) + m
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
    v("encoder", encoder, "frozen vision transformer");
    v("decoder", decoder, "transformer from latent tokens to pixels");
    v("input_size", input_size, "side that images are resized to before the encoder; 0: no resizing", range(0, 65536), unit("pixels"));
    v("image_mean", image_mean, "mean that is subtracted before the encoder: one for all channels, or one per channel");
    v("image_std", image_std, "standard deviation that images are divided by before the encoder: one for all channels, or one per channel", above(0));
  }
};

struct Rae {
  RaeConfig config;
  VitEncoder encoder;
  RaeDecoder decoder;

  // ConfigError when the decoder does not take the encoder's channels, or means or deviations are neither one nor one a channel.
  explicit Rae(const RaeConfig& c, std::uint64_t seed = 0);
  template <class V> void visit(V&& v) {
    v("encoder", encoder);
    v("decoder", decoder);
  }

  std::int64_t latent_channels() const { return config.encoder.width; }
  std::int64_t latent_size() const { return config.decoder.latent_size; }

  Var tokens(const Var& images) const;             // (B, N, C): the encoder's patch tokens, of resized and normalized images
  Var pixels(const Var& tokens) const;             // (B, N, C) -> images, not clamped

  // Without history, in batches: for data sets and samples.
  Tensor encode(const Tensor& images) const;       // -> (B, C, h, w)
  Tensor decode(const Tensor& latents) const;      // -> images, clamped to [0, 1]
};

// (x - mean)/std of images (B, channels, H, W), and back.
Var normalised(const Var& images, const RaeConfig& c);
Var restored(const Var& images, const RaeConfig& c);

// (B, N, C) <-> (B, C, h, w), token n = row w + column
Tensor tokens_to_grid(const Tensor& tokens);
Tensor grid_to_tokens(const Tensor& latents);

}  // namespace fm
