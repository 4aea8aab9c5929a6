#include "flowmap/training/chain/resources.h"

#include <algorithm>

#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/spaces.h"

namespace fm {
namespace {

constexpr double bytes_of_f32 = 4;

// Of a network with an optimizer of its own: weights, gradients and two moments in memory, weights and moments in a checkpoint.
constexpr double copies_in_memory = 4, copies_in_checkpoint = 3;

Beside beside(const Recipe& r, const StageSpec& stage) { return stage.beside == nullptr ? Beside{} : stage.beside(r); }

double to_double(std::int64_t n) { return static_cast<double>(n); }

}  // namespace

std::int64_t rows_at_a_time(const LoopConfig& loop) { return loop.micro_batch > 0 ? std::min(loop.micro_batch, loop.batch) : loop.batch; }

double memory_of_training(const Recipe& r, const StageSpec& stage, int ranks, bool sharded) {
  if (stage.is_generator()) return to_double(stage_cost(r, stage.name, ranks, sharded).memory());
  const Beside more = beside(r, stage);
  return bytes_of_f32 * (5 * to_double(stage.parameters(r).all) + to_double(more.frozen) + copies_in_memory * to_double(more.trained) +
                         to_double(rows_at_a_time(stage.loop(r))) * to_double(stage.values_a_row(r)));
}

double memory_of_data(const Recipe& r, std::int64_t images) {
  if (r.latents.from != "memory") return 0;
  const SpaceSpec& space = space_of(r);
  const double latents = space.encodes ? bytes_of_f32 * to_double(r.stored_latent_shape().numel()) * (r.latents.flip ? 2 : 1) : 0;
  return to_double(images) * (to_double(space.sample_bytes(r)) + latents);
}

double checkpoint_bytes(const Recipe& r, const StageSpec& stage) {
  const LoopConfig& l = stage.loop(r);
  const std::int64_t written = (l.steps + l.ckpt_every - 1) / l.ckpt_every;
  const std::int64_t kept = std::min(written, l.keep + 1 + (l.keep_every > 0 ? l.steps / l.keep_every : 0));
  return to_double(kept) * bytes_of_f32 * (4 * to_double(stage.parameters(r).all) + copies_in_checkpoint * to_double(beside(r, stage).trained));
}

}  // namespace fm
