// RAE: a frozen representation encoder and a decoder that is trained to invert it (Zheng et al. 2025). Images are (B, channels, H, W) in [0, 1]. Latents
// (B, C, h, w) are the encoder's outputs. rae_space (flowmap/training/rae_space.h) scales them to unit variance for generators.
//
//   encode(x) = E((R x - m)/d)        decode(z) = d D(z) + m
//
// R resizes images to the encoder's input size (PyTorch's bicubic interpolation without antialiasing, not clamped), m and d are the mean and deviation
// of images, E is the encoder and D the decoder. Sources: mfrae.md 1.1, 1.5.
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
    v("input_size", input_size, "side to which images are resized before the encoder; 0: no resizing", range(0, 65536), unit("pixels"));
    v("image_mean", image_mean, "mean that is subtracted from images before the encoder: one number for all channels, or one per channel");
    v("image_std", image_std, "standard deviation by which images are divided before the encoder: one number for all channels, or one per channel", above(0));
  }
};

struct Rae {
  RaeConfig config;
  VitEncoder encoder;
  RaeDecoder decoder;

  // ConfigError if decoder.latent_channels is not encoder.width, or if image_mean or image_std has neither one value nor one per channel.
  explicit Rae(const RaeConfig& c, std::uint64_t seed = 0);
  template <class V> void visit(V&& v) {
    v("encoder", encoder);
    v("decoder", decoder);
  }

  std::int64_t latent_channels() const { return config.encoder.width; }
  std::int64_t latent_size() const { return config.decoder.latent_size; }

  Var encoder_input(const Var& images) const;      // the resized and normalized images
  Var tokens(const Var& images) const;             // (B, N, C): the encoder's patch tokens of the resized and normalized images
  Var pixels(const Var& tokens) const;             // (B, N, C) -> images, not clamped

  // For data sets and samples: without a tape, in batches.
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
