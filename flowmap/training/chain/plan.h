// Estimates memory, traffic and time of a stage on a given number of GPUs, from the recipe (flowmap/training/chain/costs.h) and data sheets. The time
// comes from this model, not from a measurement:
//
//   compute      FLOPs of the GPU with most rows / (peak x utilisation); the utilisation also accounts for all work besides products
//   gradients    each GPU sends 2 (N-1)/N of their f32 bytes in a ring, during the last micro-batch's backward pass; only the time beyond that pass is
//                added. With a sharded optimizer each GPU sends half as much, and then (N-1)/N of the new weights, for which all GPUs wait
//   optimizer    40 bytes of memory traffic for each parameter that the GPU updates
//   links        NVLink within a machine of 8 GPUs. Between machines a ring uses the network adapters of all 8 GPUs at once, or NVLink if that is slower
//
// The model leaves out start-up, data, checkpoints, previews and latencies. A ring of many small buckets is slower than in the model.
#pragma once

#include <string>
#include <vector>

#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/gpu_table.h"

namespace fm {

struct PlanConfig {
  std::string gpu = "h100", precision;
  std::int64_t gpus = 8;
  double utilisation = 0.4, interconnect = 0;
  template <class V>
  void visit(V&& v) {
    v("gpus", gpus, "number of GPUs that --plan assumes", range(1, 65536), flag("gpus"), basic());
    v("gpu", gpu, "model of GPU that --plan assumes; an unknown name lists the known ones", flag("gpu"), basic());
    v("precision", precision, "number format of products that --plan assumes; empty: bf16 if dit.precision is bf16, else tf32",
      one_of({"", "bf16", "tf32", "f32"}), flag("precision"));
    v("utilisation", utilisation, "share of the GPU's peak speed that products reach in a step, for --plan", range(1e-3, 1), flag("utilisation"));
    v("interconnect", interconnect, "bandwidth from one GPU to others, for --plan; 0: the bandwidth in the table of GPUs", at_least(0),
      unit("GB/s"), flag("interconnect"));
  }
};

struct StagePlan {
  StageCost cost;
  double memory = 0, memory_recomputed = 0;     // bytes of the GPU that needs most: as configured, and with dit.recompute
  double gradients_sent = 0, weights_sent = 0;  // bytes that each GPU sends per step
  double compute = 0, overlap = 0, gradient_wait = 0, weight_wait = 0, optimizer = 0;  // seconds; overlap: the part of compute that can hide sending

  double step() const { return compute + gradient_wait + weight_wait + optimizer; }
};

// Sets the recipe's precision from config.precision: bf16 stores activations in bf16, tf32 and f32 in f32. If config.precision is empty, it is first set
// from the recipe.
void take_precision(Recipe& recipe, PlanConfig& config);

double link_rate(const Gpu& gpu, const PlanConfig& config);  // bytes/s that a GPU sends

// ConfigError if the GPU is unknown, or if the stage's batch has fewer rows than there are GPUs.
StagePlan plan_stage(const Recipe& recipe, const std::string& stage, const PlanConfig& config, bool sharded);

}  // namespace fm
