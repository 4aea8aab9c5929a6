// Loads published files of DiT's kind (nn/models/dit.h): SiT, REPA, REG, and the PyTorch and Flax code of MeanFlow.
//
// SiT's clock runs the other way: its time 1 is data, its velocity points from noise to data. In the convention of this project (t = 0 is data)
//
//   v(z, t) = -SiT(z, 1 - t),      an exact change of weights:
//   W [cos((1-t) f) | sin((1-t) f)] = W' [cos(t f) | sin(t f)],  W = (C | S),  C' = C cos f + S sin f,  S' = C sin f - S cos f
//
// with f multiplied by the factor of times (DitConfig::time_scale, 1 in published files), for the first layer of the embedding of times, and the
// opposite sign of the last layer. So a file of SiT becomes an ordinary velocity when it is loaded. Facts: sdvae-sit.md 2.2, 2.3, 2.5, 3.1.
//
// Tensors alone do not distinguish all files. `origin` names the code that wrote a file:
//
//   origin      the file                                    auto, without this setting
//   sit         SiT, with or without its second half of     a second half of channels is taken as SiT's
//               output channels
//   repa        REPA, REG, or weights of this project       one time and no second half of channels
//   mean_flow   MeanFlow. Without a second embedding of     a second embedding of times (r_embedder, h_embedder)
//               times, an early version (shared_times)
//
// A DiT has the tensors of a SiT, but predicts noise on another path. No change of weights makes a velocity of it.
#pragma once

#include "nn/checkpoint.h"
#include "nn/models/dit.h"

namespace fm {

struct DitReading {
  std::string origin = "auto";                   // one of dit_origins()
  std::int64_t input_size = 32;                  // side of the latent, for Flax files: they do not contain the table of positions
  double time_scale = 1;                         // factor of times before they are embedded, which tensors do not show
};

// Loads a file that load_weights can read, translates its names (nn/models/published_names.h), leaves a second half of output channels out and reverses
// the clock of a SiT, with a warning. Weights::read_as names the assumed clock. A checkpoint of this program is not changed, whatever the origin. FileError
// names the file: it is not of this kind, it contradicts `origin`, or it is called DiT and `origin` is auto.
Weights load_dit(const std::string& where, const DitReading& reading, const Warn& warn);

// Whether load_dit() took the weights for those of a SiT.
bool is_read_as_sit(const Weights& weights);

// Leaves out the rows of the last layer that do not belong to the velocity: a token has `channels` of them for each pixel, then as many others. No
// change if there are no others. FileError if the tensors are not those of a DiT.
NamedTensors without_sigma(const NamedTensors& tensors);

// Turns weights on SiT's clock into weights on this project's clock, or back. Computed in f64; the result has the type of the weights, at least f32. `time_scale`: the network's.
NamedTensors with_reversed_clock(const NamedTensors& tensors, double time_scale = 1);

// The numbers of the class token of REG's weights, under our names; 0 if they have none.
std::int64_t class_token_of(const NamedTensors& tensors);
// Leaves out the layers of the class token and its position. The result is not the velocity of the latent alone, which depends on the token; it is a start
// for a network without one.
NamedTensors without_class_token(const NamedTensors& tensors);

// The config that follows from the tensors, under our names. Files do not contain the number of heads: it is usual_heads(width) (published_weights.h).
// FileError names a tensor that is missing or does not fit.
DitConfig dit_config_of(const Weights& weights, const DitReading& reading = {});

}  // namespace fm
