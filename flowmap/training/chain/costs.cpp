#include "flowmap/training/chain/costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "flowmap/training/chain/spaces.h"
#include "nn/optim/shards.h"
#include "nn/training/parallel.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::int64_t f32 = 4;

// The parameters of the rank that needs most memory when moments and averages are sharded.
ParameterCount owned_parameters(const NetworkCost& network, int ranks) {
  std::vector<std::int64_t> sizes;
  for (const NetworkCost::Parameter& p : network.parameters) sizes.push_back(p.values);
  const std::vector<int> owners = balanced_owners(sizes, ranks);
  std::vector<ParameterCount> of(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    ParameterCount& own = of[static_cast<std::size_t>(owners[i])];
    own.all += sizes[i];
    if (network.parameters[i].trained) own.trained += sizes[i];
  }
  const auto values = [](const ParameterCount& p) { return p.all + 2 * p.trained; };
  return *std::max_element(of.begin(), of.end(), [&](const ParameterCount& a, const ParameterCount& b) { return values(a) < values(b); });
}

std::int64_t rows_in(const std::vector<RowRange>& parts) { return parts.back().first + parts.back().count - parts.front().first; }

// The micro-batches of the rank with most rows, which is the first or the last rank.
std::vector<RowRange> most_rows(const LoopConfig& loop, int ranks) {
  const auto of = [&](int rank) { return rows_of_rank(loop.batch, loop.micro_batch, rank, ranks); };
  const std::vector<RowRange> first = of(0), last = of(ranks - 1);
  return rows_in(last) > rows_in(first) ? last : first;
}

// FLOPs of encoding images within a step, or 0 if latents come from memory or from a cache, because these latents are encoded before the training.
double encoder_flops(const Recipe& r, std::int64_t batch) {
  const SpaceSpec& space = space_of(r);
  return space.encode_flops == nullptr || r.latents.from != "images" ? 0 : static_cast<double>(batch) * space.encode_flops(r);
}

void add_activations(StageCost& c, const NetworkCost& network, std::int64_t rows) {
  c.rows = rows;
  c.activations_kept = network.activations(rows, false).kept;
  const ActivationBytes again = network.activations(rows, true);
  c.activations_recomputed = again.kept + again.one_block;
}

}  // namespace

const LoopConfig& stage_loop(const Recipe& r, const std::string& name) {
  const StageSpec& stage = stage_named(name);
  if (stage.loop == nullptr) throw ConfigError(fmt::format("stage {} has no training", name));
  return stage.loop(r);
}

StageCost stage_cost(const Recipe& r, const std::string& name, int ranks, bool sharded) {
  const StageSpec& stage = stage_named(name);
  if (!stage.is_generator()) throw ConfigError(fmt::format("stage {} trains no generator; the stages that do are {}", name, words(generator_stages(), "and")));
  StageCost c{.name = name, .loop = &stage.loop(r)};
  const NetworkCost teacher = r.network.cost(false), model = stage.makes == Makes::teacher ? teacher : r.network.cost(true);
  const Needs needs = stage.objective_in(r).needs;
  const ShapesOnly shapes;

  const ParameterCount own = stage.parameters(r);
  c.trained = own.trained, c.frozen = own.all - own.trained;
  if (stage.is_taught(r)) c.teacher = teacher.all();

  const double batch = static_cast<double>(c.loop->batch);
  c.forward = batch * static_cast<double>(needs.rows) * model.flops;
  c.backward = 2 * c.forward;
  if (model.recompute) c.recompute = c.forward;
  c.tangent = needs.passes * c.forward;
  c.targets = stage.teacher_calls(r) * (r.guidance == 1 ? 1 : 2) * batch * teacher.flops;
  if (needs.data) c.encoder = encoder_flops(r, c.loop->batch);

  const std::vector<RowRange> parts = most_rows(*c.loop, ranks);
  c.parts = std::ssize(parts);
  c.share = static_cast<double>(rows_in(parts)) / batch;
  const ParameterCount kept = sharded ? owned_parameters(model, ranks) : own;
  c.owned = kept.trained;
  c.weights = f32 * own.all;
  c.gradients = f32 * own.trained * std::min<std::int64_t>(c.parts, ranks > 1 ? 3 : 2);
  c.optimizer = 2 * f32 * kept.trained;
  c.average = f32 * (kept.all + (needs.target_decay >= 0 ? own.all : 0));
  c.teacher_weights = f32 * c.teacher;
  if (const SpaceSpec& space = space_of(r); space.parameters != nullptr) c.autoencoder = f32 * space.parameters(r);
  add_activations(c, model, parts.front().count * needs.rows);
  for (std::int64_t* bytes : {&c.activations_kept, &c.activations_recomputed}) *bytes += std::llround(needs.taped_tangent * static_cast<double>(*bytes));
  c.activations = model.recompute ? c.activations_recomputed : c.activations_kept;
  return c;
}

}  // namespace fm
