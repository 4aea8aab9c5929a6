// The number of a model's parameters and of the products per sample, from its config alone: no weight is allocated.
//
// A MAC is one multiplication and the addition that follows it. Two counts are kept apart:
//
//   macs_linear      linear layers and convolutions: the paper's "GFLOPS", in units of 10^9
//   macs_attention   the products q k^T and p v of attention, 2 N^2 C for N tokens of width C
//
// Their sum is the full cost. Norms, activations, softmax, biases, rotations and resizing are not matrix products and are left out
// of both. Facts: mfrae.md 4.9.
//
// A model's own count, cost_table(config), is in the file for its config: nn/backbones/ for generators,
// nn/flops/autoencoder.h for encoder and decoder.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fm {

// One part of a model, under its name in the model's checkpoints; "blocks.0-27.attn" means that part of 28 blocks. The functions add a
// layer's parameters and products and return the part, to be chained.
struct ModuleCost {
  std::string module;
  std::int64_t parameters = 0, macs_linear = 0, macs_attention = 0;

  explicit ModuleCost(std::string name) : module(std::move(name)) {}
  ModuleCost& values(std::int64_t count);                                                         // parameters without multiplications
  ModuleCost& linear(std::int64_t in, std::int64_t out, std::int64_t rows);                       // with bias, on this many rows
  ModuleCost& conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t places);  // with bias, for this many output pixels
  ModuleCost& attention(std::int64_t tokens, std::int64_t width);
  ModuleCost& times(std::int64_t count);  // multiplies all that was added so far

  std::int64_t macs() const { return macs_linear + macs_attention; }  // in full
};

using CostTable = std::vector<ModuleCost>;

// The sum, as a part called "total".
ModuleCost total(const CostTable& modules);

// "blocks", 2, 3, ".attn" -> "blocks.2-4.attn": a part of three blocks from number 2 on.
std::string block_range(const std::string& blocks, std::int64_t first, std::int64_t count, const std::string& part);

}  // namespace fm
