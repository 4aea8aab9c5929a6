// One line about loaded weights, so that users see which weights a program uses.
//
//   teacher: DiT^DH 128x4 + 128x2, 2063744 parameters in f32, step 2600, checksum 1a2b3c4d, runs/q/fm/checkpoints/step-00002600/ema.safetensors
#pragma once

#include <string>

#include "nn/checkpoint.h"

namespace fm {

// crc32c of names, shapes and values, eight hexadecimal digits: which weights these are.
std::string checksum(const NamedTensors& tensors);

// The origin of weights: the rest of a Weights after its tensors moved into a model.
struct LoadedFrom {
  std::string file;
  std::int64_t step = -1;                // -1: a bare file
  LoadedFrom(const Weights& weights) : file(weights.file.string()), step(weights.step) {}
};

std::string loaded_line(const std::string& role, const std::string& size, const StateDict& state, const LoadedFrom& from);

// "role" is the use in the program: encoder, teacher, mfd ... Its size in words is size_text(config), declared beside the model or in nn/flops/.
template <class M, class C> std::string loaded_line(const std::string& role, const M& model, const C& config, const LoadedFrom& from) {
  return loaded_line(role, size_text(config), state_dict(model), from);
}

}  // namespace fm
