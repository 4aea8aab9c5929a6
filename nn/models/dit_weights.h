// Loads published files of DiT's kind (nn/models/dit.h): SiT, REPA, and the PyTorch code of MeanFlow.
//
// SiT's clock runs the other way: its time 1 is data, its velocity points from noise to data. In the convention of this project (t = 0 is data)
//
//   v(z, t) = -SiT(z, 1 - t),      an exact change of weights:
//   W [cos((1-t) f) | sin((1-t) f)] = W' [cos(t f) | sin(t f)],  W = (C | S),  C' = C cos f + S sin f,  S' = C sin f - S cos f
//
// for the first layer of the embedding of times, and the opposite sign of the last layer. So a file of SiT becomes an ordinary velocity when it is
// loaded. Facts: sdvae-sit.md 2.2, 2.3, 2.5, 3.1.
//
// SiT's published files have a second half of output channels, as DiT's files, from which they differ in nothing but the values. DiT predicts noise
// on another path: no change of weights makes a velocity of it.
#pragma once

#include "nn/checkpoint.h"
#include "nn/models/dit.h"

namespace fm {

// Loads a file that load_weights can read, and translates its names (nn/models/published_names.h). Weights with a second half of output channels are
// taken as SiT's: that half is left out and the clock reversed, with a warning. A checkpoint of this program is not changed. FileError names the file.
Weights load_dit(const std::string& where, const Warn& warn);

// Leaves out the rows of the last layer that do not belong to the velocity: a token has `channels` of them for each pixel, then as many others. No
// change if there are no others. FileError if the tensors are not those of a DiT.
NamedTensors without_sigma(const NamedTensors& tensors);

// Turns weights on SiT's clock into weights on this project's clock, or back. Computed in f64; the result has the type of the weights, at least f32.
NamedTensors with_reversed_clock(const NamedTensors& tensors);

// The config that follows from the tensors, under our names. Files do not contain the number of heads: it is 16 for the published width 1152, else the
// number of heads of width 64. FileError names a tensor that is missing or does not fit.
DitConfig dit_config_of(const Weights& weights);

}  // namespace fm
