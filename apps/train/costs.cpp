#include "apps/train/costs.h"

#include "nn/flops/activations.h"
#include "nn/flops/count.h"

namespace fm {
namespace {

constexpr std::int64_t f32 = 4;

double flops_of(const DitDhConfig& config) { return 2 * static_cast<double>(total(cost_table(config)).macs()); }

struct Parameters {
  std::int64_t all, trained;
};

Parameters parameters_of(const DitDhConfig& config) {
  const ShapesOnly shapes;
  const DitDh model(config);
  return {parameter_count(model), parameter_count(model, true)};
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

StageCost stage_cost(const Recipe& r, const std::string& name) {
  const bool flow_matching = name == "fm", cmt = name == "cmt";
  const MfStage& mf = name == "mft" ? r.mft : r.mfd;
  StageCost c{.name = name, .loop = flow_matching ? &r.fm.loop : cmt ? &r.cmt.loop : &mf.loop};
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

  const bool parts = c.loop->micro_batch > 0 && c.loop->micro_batch < c.loop->batch;
  c.weights = f32 * own.all;
  c.gradients = f32 * own.trained * (parts ? 2 : 1);
  c.optimiser = 2 * f32 * own.trained;
  c.average = f32 * own.all;
  c.teacher_weights = f32 * c.teacher;
  const ShapesOnly shapes;
  c.autoencoder = f32 * (parameter_count(VitEncoder(r.rae.encoder)) + parameter_count(RaeDecoder(r.rae.decoder)));
  add_activations(c, model, (parts ? c.loop->micro_batch : c.loop->batch) * (cmt ? r.cmt.objective.pairs : 1));
  c.activations = r.dit.recompute ? c.activations_recomputed : c.activations_kept;
  return c;
}

}  // namespace fm
