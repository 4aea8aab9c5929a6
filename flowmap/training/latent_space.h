// The space in which generators work: samples are encoded to latents, networks model latents, and generated latents are decoded to samples.
//
//   LatentCoder    samples <-> raw latents: an autoencoder, or the identity. Caches hold raw latents, and statistics describe them.
//   LatentSpace    samples <-> latents for networks: the coder, whose encode() and decode() also apply the statistics
//
// Normalization cannot be forgotten: encode() and decode() include it, and no network accepts the type of raw latents.
//
// A variational autoencoder gives a normal distribution (its posterior) for each latent. Its raw latents are mean and deviation, so that each visit of
// a sample in training can draw a latent anew.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "flowmap/draws.h"
#include "nn/latent_stats.h"
#include "tensor/tensor.h"

namespace fm {

// Names and checksums of inputs: {"encoder", "1a2b3c4d"}.
using Checksums = std::vector<std::pair<std::string, std::string>>;

struct LatentCoder {
  std::string name;                                        // "rae", "identity"
  Shape shape;                                             // shape of one latent
  std::function<Tensor(const Tensor& samples)> encode;     // (n, shape of a sample) -> (n, stored()); empty: samples are latents
  std::function<Tensor(const Tensor& raw)> decode;         // raw latents -> samples; empty: latents are samples
  std::string preprocessing;                               // what is done to samples before the encoder, in words
  std::function<Checksums()> encoder;                      // checksums of the current weights that make latents; empty: there are no weights
  std::function<std::string()> decoder;                    // checksum of the current weights that make samples, with_precision; empty: there are no weights
  std::function<std::string()> weights;                    // checksum of encoder and decoder together
  double variance_floor = 0;                               // LatentStats::floor of the statistics
  bool posterior = false;                                  // `encode` gives mean | deviation of each latent along the channels, (n, 2C, ...) for the shape (C, ...)

  Shape stored() const { return posterior ? shape.with(0, 2 * shape[0]) : shape; }   // shape of one raw latent, as `encode` gives it and caches hold it
};

// "1a2b3c4d" for f32, "1a2b3c4d bf16" for another number format: the same weights give other numbers in it.
std::string with_precision(const std::string& checksum, const std::string& precision);

// Latents before normalization.
struct RawLatents {
  Tensor values;                                           // (n, stored() of the coder)
};

class LatentSpace {
 public:
  LatentSpace() = default;
  // Without statistics, latents stay as the coder makes them. ShapeError if the statistics do not have the coder's shape.
  explicit LatentSpace(LatentCoder coder, LatentStats statistics = {});

  const std::string& name() const { return coder_.name; }
  const Shape& shape() const { return coder_.shape; }
  // Throws the coder's errors; ShapeError if latents are not (n, shape). From a posterior, encode gives the mean.
  Tensor encode(const Tensor& samples) const;
  Tensor decode(const Tensor& latents) const;
  Tensor normalised(const RawLatents& raw) const;          // the second half of encode, for stored latents
  // Likewise for training: from a posterior, mean + deviation n with n ~ N(0, I) from `draws`, one row of it for each latent.
  Tensor sampled(const RawLatents& raw, const Draws& draws) const;

  const LatentCoder& coder() const { return coder_; }
  const LatentStats& statistics() const { return statistics_; }
  std::string decoding() const;                            // "decoder 1a2b3c4d stats 5e6f7a8b": what decoded samples depend on besides the latents
  // Everything that latents depend on: weights, preprocessing, statistics. Eight hexadecimal digits.
  std::string fingerprint() const;

 private:
  Tensor scaled(const Tensor& latents) const;

  LatentCoder coder_;
  LatentStats statistics_;
};

// Latents are samples of this shape as they are. With statistics, identity_space scales them to mean 0 and variance 1.
LatentCoder identity_coder(Shape shape);
LatentSpace identity_space(Shape shape, LatentStats statistics = {});

// Mean and variance of each element of samples (n, ...) f32, computed in double precision; n >= 2. An element that is the same in all
// samples keeps its scale: its variance is given as 1. ConfigError names an element whose variance is outside the range that f32 can divide by.
LatentStats statistics_of(const Tensor& samples);

}  // namespace fm
