#include "apps/train/costs.h"

#include <algorithm>
#include <utility>

#include "nn/training/parallel.h"
#include "nn/flops/activations.h"
#include "nn/flops/count.h"
#include "nn/optim/shards.h"

namespace fm {
namespace {

constexpr std::int64_t f32 = 4;

double flops_of(const DitDhConfig& config) { return 2 * static_cast<double>(total(cost_table(config)).macs()); }

struct Parameters {
  std::int64_t all = 0, trained = 0;
};

Parameters parameters_of(const DitDhConfig& config) {
  const ShapesOnly shapes;
  const DitDh model(config);
  return {parameter_count(model), parameter_count(model, true)};
}

// Of those whose moments and averages lie on one rank when they are kept in parts: the rank's with most bytes.
Parameters owned_parameters(const DitDhConfig& config, int ranks) {
  const ShapesOnly shapes;
  DitDh model(config);
  const std::vector<NamedParameter> list = named_parameters(model);
  std::vector<std::int64_t> sizes;
  for (const NamedParameter& p : list) sizes.push_back(p.parameter->value.numel());
  const std::vector<int> owners = balanced_owners(sizes, ranks);
  std::vector<Parameters> of(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Parameters& own = of[static_cast<std::size_t>(owners[i])];
    own.all += sizes[i];
    if (list[i].parameter->trainable) own.trained += sizes[i];
  }
  const auto values = [](const Parameters& p) { return p.all + 2 * p.trained; };
  return *std::max_element(of.begin(), of.end(), [&](const Parameters& a, const Parameters& b) { return values(a) < values(b); });
}

std::int64_t rows_in(const std::vector<RowRange>& parts) { return parts.back().first + parts.back().count - parts.front().first; }

// The micro-batches of the rank with most rows: it is the first or the last.
std::vector<RowRange> most_rows(const LoopConfig& loop, int ranks) {
  const auto of = [&](int rank) { return rows_of_rank(loop.batch, loop.micro_batch, rank, ranks); };
  const std::vector<RowRange> first = of(0), last = of(ranks - 1);
  return rows_in(last) > rows_in(first) ? last : first;
}

// Of pictures that a step encodes; latents from memory and from a cache were encoded before.
double encoder_flops(const Recipe& r, std::int64_t batch) {
  if (r.latents.from != "images") return 0;
  const std::int64_t seen = r.rae.input_size > 0 ? r.rae.input_size : r.image_size;
  return 2 * static_cast<double>(batch) * static_cast<double>(total(cost_table(r.rae.encoder, seen)).macs());
}

// Further passes that the derivative takes, by rows with s < t: with the values (jvp), or without history (differences).
double derivative_passes(const std::string& kind) {
  if (kind == "jvp" || kind == "forward" || kind == "backward") return 1;
  return kind == "semi" ? 3 : 2;
}

void add_activations(StageCost& c, DitDhConfig config, std::int64_t rows) {
  c.rows = rows;
  config.recompute = false;
  c.activations_kept = activation_bytes(config, rows).kept;
  config.recompute = true;
  const ActivationBytes again = activation_bytes(config, rows);
  c.activations_recomputed = again.kept + again.one_block;
}

}  // namespace

const LoopConfig& stage_loop(const Recipe& r, const std::string& name) {
  return name == "fm" ? r.fm.loop : name == "cmt" ? r.cmt.loop : name == "mfd" ? r.mfd.loop : r.mft.loop;
}

StageCost stage_cost(const Recipe& r, const std::string& name, int ranks, bool sharded) {
  const bool flow_matching = name == "fm", cmt = name == "cmt";
  const MfStage& mf = name == "mft" ? r.mft : r.mfd;
  StageCost c{.name = name, .loop = &stage_loop(r, name)};
  DitDhConfig teacher = r.dit, model = r.dit;
  teacher.mean_flow = false, model.mean_flow = !flow_matching;

  const Parameters own = parameters_of(model);
  c.trained = own.trained, c.frozen = own.all - own.trained;
  const bool taught = cmt || (!flow_matching && teacher_share(mf.velocity) > 0);
  if (taught) c.teacher = parameters_of(teacher).all;

  const double batch = static_cast<double>(c.loop->batch), rows = cmt ? batch * static_cast<double>(r.cmt.objective.pairs) : batch;
  c.forward = rows * flops_of(model);
  c.backward = 2 * c.forward;
  if (r.dit.recompute) c.recompute = c.forward;
  if (!flow_matching && !cmt) {
    const PairConfig& pairs = mf.objective.pairs;
    c.tangent = (1 - pairs.diagonal_share) * derivative_passes(mf.objective.derivative.kind) * c.forward;
  }
  const double guided = r.guidance == 1 ? 1 : 2;
  if (cmt)
    c.targets =
        static_cast<double>(r.cmt.objective.points - 1) * (r.cmt.objective.solver == "heun" ? 2 : 1) * guided * batch * flops_of(teacher);
  else if (taught) c.targets = guided * batch * flops_of(teacher);
  if (!cmt) c.encoder = encoder_flops(r, c.loop->batch);

  const std::vector<RowRange> parts = most_rows(*c.loop, ranks);
  c.parts = std::ssize(parts);
  c.share = static_cast<double>(rows_in(parts)) / batch;
  const Parameters kept = sharded ? owned_parameters(model, ranks) : own;
  c.owned = kept.trained;
  c.weights = f32 * own.all;
  c.gradients = f32 * own.trained * std::min<std::int64_t>(c.parts, ranks > 1 ? 3 : 2);
  c.optimiser = 2 * f32 * kept.trained;
  c.average = f32 * kept.all;
  c.teacher_weights = f32 * c.teacher;
  const ShapesOnly shapes;
  c.autoencoder = f32 * (parameter_count(VitEncoder(r.rae.encoder)) + parameter_count(RaeDecoder(r.rae.decoder)));
  add_activations(c, model, parts.front().count * (cmt ? r.cmt.objective.pairs : 1));
  c.activations = r.dit.recompute ? c.activations_recomputed : c.activations_kept;
  return c;
}

}  // namespace fm
