#include "flowmap/training/chain/run_context.h"

#include "flowmap/training/run_files.h"

namespace fm {
namespace {

// Remedies for an explosion of the number with this name.
std::string remedies(const std::string& name) {
  if (name == "grad_norm")
    return "a lower loop.rate.peak or a longer rate.warmup_steps, loop.adamw.clip = 1, objective.metric.kind = \"adaptive\", a start from the cmt stage";
  if (name == "derivative_ratio")
    return "a start from the cmt stage, objective.metric.kind = \"adaptive\", loop.adamw.clip = 1, a larger objective.pairs.diagonal_share";
  return "objective.metric.kind = \"adaptive\", loop.adamw.clip = 1, a start from the cmt stage, a lower loop.rate.peak";
}

}  // namespace

Outcome train_stage(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, const std::vector<Field>& fields, RunContext& context) {
  if (!stage.drawn && stage.not_recorded.empty()) stage.not_recorded = "only the stages on latents are recorded";
  if (!stage.remedies) stage.remedies = remedies;
  if (context.train) return context.train(stage, loop, seed, files);
  const RunOptions& o = context.launch;
  RunFiles observer(files);
  return train(stage, loop, seed, {.out = o.out, .resume = o.resume, .cuda_graph = o.cuda_graph, .shard_optimizer = o.shard_optimizer, .trace = o.trace, .fields = fields},
               *context.ranks, observer);
}

}  // namespace fm
