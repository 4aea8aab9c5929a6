// The numbers of parameters of a model and of multiply-adds per sample, from its config alone: no weights are allocated.
//
// A MAC is one multiplication and the addition that follows it. Two counts are kept apart:
//
//   macs_linear      linear layers and convolutions; divided by 10^9, these are the "GFLOPS" of the MF-RAE paper
//   macs_attention   the products q k^T and p v of attention, 2 N^2 C for N tokens of width C
//
// Their sum is the full cost. Neither counts norms, activations, softmax, biases, rotations and resizing, which are not matrix products. Source:
// mfrae.md 4.9.
//
// cost_table(config) counts a whole model. It is declared in nn/backbones/ for generators, and in nn/flops/autoencoder.h for encoder and decoder.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fm {

// One part of a model, under its name in checkpoints; "blocks.0-27.attn" means this part of 28 blocks. The functions add the parameters and
// multiply-adds of one layer and return *this, so that calls can be chained.
struct ModuleCost {
  std::string module;
  std::int64_t parameters = 0, macs_linear = 0, macs_attention = 0;

  explicit ModuleCost(std::string name) : module(std::move(name)) {}
  ModuleCost& values(std::int64_t count);                                                         // parameters that no matrix product reads
  ModuleCost& linear(std::int64_t in, std::int64_t out, std::int64_t rows);                       // with bias, on this many rows
  ModuleCost& conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t places);  // with bias, for this many output pixels
  ModuleCost& attention(std::int64_t tokens, std::int64_t width);
  ModuleCost& times(std::int64_t count);  // multiplies all counts so far

  std::int64_t macs() const { return macs_linear + macs_attention; }  // the full cost
};

using CostTable = std::vector<ModuleCost>;

// Returns the sum of all parts, as a part named "total".
ModuleCost total(const CostTable& modules);

// Returns the name of a part of `count` blocks: "blocks", 2, 3, ".attn" -> "blocks.2-4.attn".
std::string block_range(const std::string& blocks, std::int64_t first, std::int64_t count, const std::string& part);

}  // namespace fm
