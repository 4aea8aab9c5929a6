// The discriminator of RAE's decoder training (StyleGAN-T, Sauer et al. 2023; sources: mfrae.md 3.4): small trained heads on the token maps of a frozen
// vision transformer. Each head reads one map x (B, C, N) and gives a score for each token:
//
//   h = l(B1(S1 x)),   h <- (l(B9(S9 h)) + h)/sqrt 2,   scores = S h        l(x) = max(x, 0.2 x)
//
// S1, S9 and S are convolutions along the tokens (kernels 1, 9 and 1, joined ends) with spectral normalization. B normalizes each channel of each sample
// over the tokens (biased variance, eps 1e-6), with a learned weight and bias. The frozen transformer is a function that the caller gives.
#pragma once

#include <functional>
#include <vector>

#include "nn/layers/norm.h"
#include "nn/layers/spectral.h"
#include "nn/models/vit_encoder.h"

namespace fm {

// A frozen network: images (B, C, H, W) in [-1, 1] -> maps of tokens (B, width, N), differentiable with respect to the images.
using TokenMaps = std::function<std::vector<Var>(const Var& images)>;

// Returns the blocks whose outputs the heads read: after each quarter of the blocks, without repetition, and a copy of the last one in front. Blocks count
// from 0: 11, 2, 5, 8, 11 for depth 12.
std::vector<std::int64_t> blocks_of_maps(std::int64_t depth);

// Tokens (B, N, width) after some blocks -> maps (B, width, N).
std::vector<Var> maps_of(const std::vector<Var>& tokens);

struct DiscriminatorHead {
  SpectralConv1d first, wide, last;
  GroupNorm first_norm, wide_norm;               // one group for each channel

  DiscriminatorHead() = default;
  explicit DiscriminatorHead(std::int64_t width);
  template <class V> void visit(V&& v) {
    v("0.0", first);
    v("0.1", first_norm);
    v("1.fn.0", wide);
    v("1.fn.1", wide_norm);
    v("2", last);
  }
  void iterate();
  Var operator()(const Var& map) const;          // (B, width, N) -> (B, N)
};

struct DinoDiscriminator {
  std::vector<DiscriminatorHead> heads;

  // One head for each map, for maps of this width.
  DinoDiscriminator(std::int64_t width, std::int64_t maps, std::uint64_t seed = 0);
  DinoDiscriminator(DinoDiscriminator&&) = default;       // clone() copies
  DinoDiscriminator& operator=(DinoDiscriminator&&) = default;
  template <class V> void visit(V&& v) { v("heads", heads); }

  void iterate();                                // one power iteration of every spectral normalization
  // Maps, one for each head -> scores (B, N1 + N2 + ...). ShapeError if their number is not that of the heads.
  Var operator()(const std::vector<Var>& maps) const;

 private:
  template <class M> friend M clone(const M& module);
  DinoDiscriminator(const DinoDiscriminator&) = default;
};

}  // namespace fm
