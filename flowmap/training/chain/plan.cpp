#include "flowmap/training/chain/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

void check_batch(const LoopConfig& loop, const std::string& stage, std::int64_t gpus) {
  if (loop.batch < gpus)
    throw ConfigError(
        fmt::format("--gpus {}: the batch of stage {} is {}; raise --{}.loop.batch or take fewer GPUs (--plan STAGE plans one stage alone)",
                    gpus, stage, loop.batch, stage));
}

constexpr double float_bytes = 4;
// AdamW reads the gradient for its norm. AdamW then reads weights, gradient, two moments and average, and writes all of these but the gradient.
constexpr double optimizer_bytes = 10 * float_bytes;

}  // namespace

void take_precision(Recipe& recipe, PlanConfig& config) {
  if (config.precision.empty()) config.precision = recipe.network.precision() == "bf16" ? "bf16" : "tf32";
  recipe.network.set_precision(config.precision == "bf16" ? "bf16" : "f32");
}

double link_rate(const Gpu& gpu, const PlanConfig& config) {
  if (config.interconnect > 0) return 1e9 * config.interconnect;
  return config.gpus <= gpus_a_machine ? gpu.nvlink : std::min(gpu.nvlink, gpus_a_machine * gpu.network);
}

StagePlan plan_stage(const Recipe& recipe, const std::string& stage, const PlanConfig& config, bool sharded) {
  const Gpu& gpu = known_gpu(config.gpu);
  check_batch(stage_loop(recipe, stage), stage, config.gpus);
  StagePlan p{.cost = stage_cost(recipe, stage, narrow<int>(config.gpus, "gpus"), sharded)};
  const StageCost& c = p.cost;
  p.memory = static_cast<double>(c.memory());
  p.memory_recomputed = static_cast<double>(c.memory() - c.activations + c.activations_recomputed);

  const double n = static_cast<double>(config.gpus), once = (n - 1) / n * float_bytes * static_cast<double>(c.trained);
  p.gradients_sent = sharded ? once : 2 * once;
  p.weights_sent = sharded ? once : 0;

  const double rate = config.utilisation * gpu.peak(config.precision), link = link_rate(gpu, config);
  p.compute = c.share * c.flops() / rate;
  p.overlap = c.share * (c.backward + c.recompute) / static_cast<double>(c.parts) / rate;
  p.gradient_wait = std::max(0.0, p.gradients_sent / link - p.overlap);
  p.weight_wait = p.weights_sent / link;
  p.optimizer = optimizer_bytes * static_cast<double>(c.owned) / gpu.bandwidth;
  return p;
}

}  // namespace fm
