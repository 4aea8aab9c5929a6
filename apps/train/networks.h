// The generator networks that a recipe can name, a row of networks.cpp each: how they are made, loaded, started from a teacher, and what they cost.
// `two_times`: a flow map; else a velocity.
#pragma once

#include <functional>

#include "apps/train/recipe.h"
#include "flowmap/training/network.h"
#include "nn/checkpoint.h"
#include "nn/flops/activations.h"

namespace fm {

Network make_network(const Recipe& recipe, bool two_times, std::uint64_t seed);              // with the initial values of this seed

// Of these weights, frozen. FileError as from frozen_model.
Network load_network(const Recipe& recipe, bool two_times, Weights weights);

// Copies weights into a network. Those of a network of one time may go into one of two: what looks at the second time then keeps its initial values
// (DiT^DH), or begins at zero (the MLP), so that the map begins as the teacher's velocity. Else strict: FileError.
void start_from(const Network& network, const Recipe& recipe, Weights weights);

std::string network_size(const Recipe& recipe, bool two_times);  // "DiT^DH 128x4 + 128x2, flow map u(z, s, t)"

// What it costs, without a weight being allocated.
struct NetworkCost {
  struct Parameter {
    std::int64_t values;
    bool trained;
  };
  std::vector<Parameter> parameters;
  double flops = 0;                                              // of one sample, forward
  bool recompute = false;                                        // as configured
  std::function<ActivationBytes(std::int64_t rows, bool recompute)> activations;

  std::int64_t all() const;
  std::int64_t trained() const;
};
NetworkCost network_cost(const Recipe& recipe, bool two_times);

}  // namespace fm
