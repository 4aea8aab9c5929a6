#include "flowmap/objective/ect.h"

#include <fmt/format.h>

#include <cmath>

#include "flowmap/objective/discrete_cm.h"

namespace fm {
namespace {

constexpr double last_stage = 30;

}  // namespace

Needs EctConfig::needs() const { return {.jumps = Jumps::to_data, .passes = 1}; }

Claims EctConfig::claims() const {
  const double last = std::floor(stage.at({999'999, 1'000'000}));       // the last step, where a schedule that ends with the training is below its end
  return {false, false, fmt::format("straight steps along w, at the end at least {} sigma long: an error of second order in the step if w is the velocity, "
                                    "a bias of first order if w = eps - z0", std::pow(q, -(last + 1)))};
}

Drawn EctConfig::complete(PathBatch p, const TrainingStep& now) const {
  const double share = std::pow(q, -(std::floor(stage.at(now)) + 1));
  const Tensor sigma = finite_sigma_of(p.t), wider = 1.0 + steps * sigmoid(-slope * sigma);
  const Tensor earlier = sigma * clamp(1.0 - share * wider, 0, 1);
  const DType dtype = p.z.dtype();
  Tensor r = time_of(earlier).to(dtype), weight = reciprocal(sigma - earlier).to(dtype);
  return {std::move(p), {{"r", std::move(r)}, {"weight", std::move(weight)}}};
}

Drawn EctConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  return complete(draw_jumps_to_data(batch, time, labels), now);
}

ObjectiveLoss EctConfig::loss(const Nets& nets, const Drawn& drawn) const { return consistency_loss(nets, drawn, metric); }
EctConfig EctConfig::published() {
  EctConfig c;
  c.time.upper = c.time.shift = 1;
  c.metric = {"power", "sum", 0, 0.5};
  return c;
}

std::string EctConfig::not_recorded(const std::string&) const { return ""; }
void EctConfig::check(const std::string& keys, std::int64_t all_steps) const { stage.check(keys + ".stage", all_steps, 0, last_stage); }

}  // namespace fm
