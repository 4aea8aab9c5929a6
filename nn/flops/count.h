// How many parameters a model has and how many products one sample costs, from its config alone: no weight is allocated.
//
// A MAC is one multiplication and the addition that follows it. Two counts are kept apart:
//
//   macs_linear      linear layers and convolutions: what the paper prints as "GFLOPS", in units of 10^9
//   macs_attention   the products q k^T and p v of attention, 2 N^2 C for N tokens of width C
//
// Their sum is the cost in full. Norms, activations, softmax, biases, rotations and resizing are no products of matrices and are left out
// of both. Facts: mfrae.md 4.9.
//
// A model's own count, cost_table(config), stands in the file that has all that follows from its config: nn/backbones/ for generators,
// nn/flops/autoencoder.h for encoder and decoder.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fm {

// One part of a model, under its name in the model's checkpoints; "blocks.0-27.attn" stands for that part of 28 blocks. The functions add a
// layer's parameters and products and return the part, to be chained.
struct ModuleCost {
  std::string module;
  std::int64_t parameters = 0, macs_linear = 0, macs_attention = 0;

  explicit ModuleCost(std::string name) : module(std::move(name)) {}
  ModuleCost& values(std::int64_t count);                                                         // parameters that multiply nothing
  ModuleCost& linear(std::int64_t in, std::int64_t out, std::int64_t rows);                       // with bias, on so many rows
  ModuleCost& conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t places);  // with bias, for so many output pixels
  ModuleCost& attention(std::int64_t tokens, std::int64_t width);
  ModuleCost& times(std::int64_t count);  // so many of all that was added

  std::int64_t macs() const { return macs_linear + macs_attention; }  // in full
};

using CostTable = std::vector<ModuleCost>;

// The sum, as a part called "total".
ModuleCost total(const CostTable& modules);

// "blocks", 2, 3, ".attn" -> "blocks.2-4.attn": a part of three blocks from number 2 on.
std::string block_range(const std::string& blocks, std::int64_t first, std::int64_t count, const std::string& part);

}  // namespace fm
