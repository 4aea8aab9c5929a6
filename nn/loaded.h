// One line about loaded weights, so that users see which weights a program uses.
//
//   teacher: DiT^DH 128x4 + 128x2, 2063744 numbers in f32, step 2600, checksum 1a2b3c4d, runs/q/fm/checkpoints/step-00002600/ema.safetensors
#pragma once

#include <string>

#include "nn/checkpoint.h"

namespace fm {

// Returns the crc32c of names, shapes and values as eight hexadecimal digits. It identifies the weights.
std::string checksum(const NamedTensors& tensors);

// The origin of weights: the fields of Weights that are still needed after a model has taken the tensors.
struct LoadedFrom {
  std::string file;
  std::int64_t step = -1;                // -1: a file that is not in a checkpoint
  std::string read_as;                   // what an ambiguous file was taken for, in words; empty: nothing to decide
  LoadedFrom(const Weights& weights) : file(weights.file.string()), step(weights.step), read_as(weights.read_as) {}
};

std::string loaded_line(const std::string& role, const std::string& size, const StateDict& state, const LoadedFrom& from);

// `role` is the model's use in the program: encoder, teacher, mfd ... The model's size in words is size_text(config), declared in nn/backbones/,
// nn/models/ or nn/flops/.
template <class M, class C> std::string loaded_line(const std::string& role, const M& model, const C& config, const LoadedFrom& from) {
  return loaded_line(role, size_text(config), state_dict(model), from);
}

}  // namespace fm
