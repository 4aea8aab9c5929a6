#include "apps/inspect/plan_tables.h"

#include <fmt/format.h>

#include "apps/inspect/reported_runs.h"
#include "data/report/numbers.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr double day = 86400;

// "8 x h100: tf32 products at 494.7 TFLOP/s x 0.4; 80 GB at 3350 GB/s; 450 GB/s from each to the others"
std::string machine_text(const PlanConfig& c) {
  const Gpu& gpu = known_gpu(c.gpu);
  return fmt::format(
      "{} x {}: {} products at {:.5g} TFLOP/s x {} (assumed); {:.4g} GB at {:.4g} GB/s; {:.4g} GB/s from each to the others\n", c.gpus,
      gpu.name, c.precision, 1e-12 * gpu.peak(c.precision), c.utilisation, 1e-9 * gpu.memory, 1e-9 * gpu.bandwidth,
      1e-9 * link_rate(gpu, c));
}

double gpu_days(const StagePlan& p, const PlanConfig& c) {
  return static_cast<double>(p.cost.loop->steps) * p.step() * static_cast<double>(c.gpus) / day;
}
double samples_a_second(const StagePlan& p) { return static_cast<double>(p.cost.loop->batch) / p.step(); }

// ---- one stage ------------------------------------------------------------------------------------------------------------------------

struct Row {
  std::string name, key, unit;  // name: in the table; key and unit: in the CSV
  double whole = 0, sharded = 0;
};

std::vector<Row> rows_of(const StagePlan& w, const StagePlan& s, const PlanConfig& config) {
  const Gpu& gpu = known_gpu(config.gpu);
  std::vector<Row> rows;
  const auto add = [&](const char* name, const char* key, const char* unit, auto value) {
    rows.push_back({name, key, unit, static_cast<double>(value(w)), static_cast<double>(value(s))});
  };
  const auto cost = [&](const char* name, const char* key, const char* unit, auto member) {
    add(name, key, unit, [&](const StagePlan& p) { return p.cost.*member; });
  };
  rows.push_back({"a step on all GPUs", "", ""});
  cost("forward", "flops_forward", "FLOP", &StageCost::forward);
  cost("tangent", "flops_tangent", "FLOP", &StageCost::tangent);
  cost("backward", "flops_backward", "FLOP", &StageCost::backward);
  cost("recompute", "flops_recompute", "FLOP", &StageCost::recompute);
  cost("teacher", "flops_teacher", "FLOP", &StageCost::targets);
  cost(stage_name::encoder, "flops_encoder", "FLOP", &StageCost::encoder);
  add("in all", "flops", "FLOP", [](const StagePlan& p) { return p.cost.flops(); });
  rows.push_back({"memory of a GPU", "", ""});
  cost("weights", "memory_weights", "B", &StageCost::weights);
  cost("gradients and buckets", "memory_gradients", "B", &StageCost::gradients);
  cost("optimizer", "memory_optimizer", "B", &StageCost::optimizer);
  cost("average", "memory_average", "B", &StageCost::average);
  cost("teacher", "memory_teacher", "B", &StageCost::teacher_weights);
  cost("autoencoder", "memory_autoencoder", "B", &StageCost::autoencoder);
  cost("activations kept", "memory_activations_kept", "B", &StageCost::activations_kept);
  cost("activations with dit.recompute", "memory_activations_recomputed", "B", &StageCost::activations_recomputed);
  add("in all, dit.recompute as set", "memory", "B", [](const StagePlan& p) { return p.memory; });
  add("in all with dit.recompute", "memory_recomputed", "B", [](const StagePlan& p) { return p.memory_recomputed; });
  add("share of the GPU's memory, as set", "memory_share", "", [&](const StagePlan& p) { return p.memory / gpu.memory; });
  rows.push_back({"sent from each GPU, a step", "", ""});
  add("gradients", "bytes_gradients", "B", [](const StagePlan& p) { return p.gradients_sent; });
  add("new weights", "bytes_weights", "B", [](const StagePlan& p) { return p.weights_sent; });
  rows.push_back({"time", "", ""});
  add("compute", "seconds_compute", "s", [](const StagePlan& p) { return p.compute; });
  add("compute while gradients are sent", "seconds_overlap", "s", [](const StagePlan& p) { return p.overlap; });
  add("wait for gradients", "seconds_gradient_wait", "s", [](const StagePlan& p) { return p.gradient_wait; });
  add("wait for new weights", "seconds_weight_wait", "s", [](const StagePlan& p) { return p.weight_wait; });
  add("optimizer", "seconds_optimizer", "s", [](const StagePlan& p) { return p.optimizer; });
  add("a step", "seconds_step", "s", [](const StagePlan& p) { return p.step(); });
  add("samples a second", "samples_per_second", "1/s", samples_a_second);
  add("GPU-days of all steps", "gpu_days", "d", [&](const StagePlan& p) { return gpu_days(p, config); });
  return rows;
}

std::string value_text(double value, const std::string& unit) {
  if (unit == "FLOP") return flops_text(value);
  if (unit == "B") return bytes_text(value);
  if (unit == "s") return fmt::format("{:.2f} ms", 1e3 * value);
  return unit.empty() ? fmt::format("{:.1f} %", 100 * value) : fmt::format("{:.5g}", value);
}

std::string line_of(const Row& r, bool csv) {
  if (r.key.empty()) return csv ? "" : r.name + "\n";
  if (csv) return fmt::format("{},{},{},{}\n", r.key, r.unit, r.whole, r.sharded);
  if (r.whole == 0 && r.unit == "FLOP") return "";
  return fmt::format("  {:<34} {:>14}{}\n", r.name, value_text(r.whole, r.unit),
                     r.sharded == r.whole ? "" : fmt::format(" {:>20}", value_text(r.sharded, r.unit)));
}

// ---- all stages -----------------------------------------------------------------------------------------------------------------------

// The utilisation that a report implies, for the FLOPs of the recipe and for those of the released code.
struct Implied {
  std::string stages;  // "mfd + mft"
  double days = 0, needed = 0, released = 0;
  bool steps_known = true;
};

Implied implied_by(const ReportedRun& run, const std::vector<StagePlan>& plans) {
  Implied out{.days = run.gpu_days};
  for (const ReportedStage& s : run.stages)
    for (const StagePlan& p : plans) {
      if (p.cost.name != s.name) continue;
      const double steps = static_cast<double>(p.cost.loop->steps);
      out.stages += (out.stages.empty() ? "" : " + ") + s.name;
      out.needed += implied_utilisation(steps * p.cost.flops(), run.gpu_days);
      out.released += implied_utilisation(steps * released_flops(p.cost), run.gpu_days);
      out.steps_known = out.steps_known && s.steps > 0;
    }
  return out;
}

std::string reported_text(const std::vector<Implied>& reported) {
  std::string out = fmt::format("\n{:<10} {:>16} {:>16} {:>16}\n", "published", "H100-days", "utilisation", "as released");
  for (const Implied& i : reported)
    out += fmt::format("{:<10} {:>16} {:>14.1f} % {:>14.1f} %{}\n", i.stages, i.days, 100 * i.needed, 100 * i.released,
                       i.steps_known ? "" : "   with this recipe's number of steps: the paper's is not published");
  return out + fmt::format(
                   "H100-days: those of the MF-RAE paper. utilisation: the share of an H100's TF32 peak, {:.1f} TFLOP/s, that they imply for the FLOPs above.\n"
                   "as released: the share for the FLOPs of the released code, whose MFD and MFT pass three copies of every row forward and back.\n",
                   1e-12 * known_gpu("h100").tf32);
}

std::string stage_line(const StagePlan& p, const StagePlan& sharded, const PlanConfig& config, bool csv) {
  const LoopConfig& loop = *p.cost.loop;
  const double sent = p.gradients_sent + p.weights_sent;
  if (csv)
    return fmt::format("{},{},{},{},{},{},{},{},{},{}", p.cost.name, loop.steps, loop.batch, p.cost.flops(), p.memory, sharded.memory, sent,
                       p.step(), samples_a_second(p), gpu_days(p, config));
  return fmt::format("{:<10} {:>8} {:>6} {:>14} {:>10} {:>10} {:>10} {:>10} {:>10.1f} {:>9.2f}", p.cost.name, loop.steps, loop.batch,
                     flops_text(p.cost.flops()), bytes_text(p.memory), bytes_text(sharded.memory), bytes_text(sent),
                     value_text(p.step(), "s"), samples_a_second(p), gpu_days(p, config));
}

// A stage without a report has empty cells. Stages that were reported together have a line of their own.
std::string reported_cells(const std::vector<Implied>& reported, const std::string& stages) {
  for (const Implied& i : reported)
    if (i.stages == stages) return fmt::format(",{},{},{}\n", i.days, i.needed, i.released);
  return ",,,\n";
}

std::string csv_table(const std::vector<StagePlan>& plans, const std::vector<StagePlan>& sharded, const std::vector<Implied>& reported,
                      const PlanConfig& config) {
  std::string out =
      "stage,steps,batch,flops,memory,memory_sharded,bytes_sent,step_seconds,samples_per_second,gpu_days,published_gpu_days,"
      "published_utilisation,released_utilisation\n";
  for (std::size_t i = 0; i < plans.size(); ++i)
    out += stage_line(plans[i], sharded[i], config, true) + reported_cells(reported, plans[i].cost.name);
  for (const Implied& i : reported)
    if (i.stages.find('+') != std::string::npos) out += i.stages + ",,,,,,,,," + reported_cells(reported, i.stages);
  return out;
}

}  // namespace

std::string plan_of_stage(Recipe& recipe, const std::string& stage, PlanConfig config, bool csv) {
  take_precision(recipe, config);
  const StagePlan whole = plan_stage(recipe, stage, config, false), sharded = plan_stage(recipe, stage, config, true);
  const StageCost& c = whole.cost;
  std::string out = csv ? "quantity,unit,whole,sharded\n" : machine_text(config);
  if (!csv)
    out += fmt::format("{}: {} steps of {}; each GPU computes {} of at most {} rows\n\n{:>71}\n", stage, c.loop->steps, c.loop->batch,
                       c.parts == 1 ? "one part" : fmt::format("{} parts", c.parts), c.rows, "--shard-optimizer");
  for (const Row& row : rows_of(whole, sharded, config)) out += line_of(row, csv);
  return out;
}

std::string plan_of_recipe(Recipe& recipe, PlanConfig config, bool csv) {
  take_precision(recipe, config);
  std::vector<StagePlan> plans, sharded;
  double days = 0;
  for (const std::string& stage : generator_stages()) {
    if (stage_loop(recipe, stage).steps == 0) continue;
    plans.push_back(plan_stage(recipe, stage, config, false));
    sharded.push_back(plan_stage(recipe, stage, config, true));
    days += gpu_days(plans.back(), config);
  }
  if (plans.empty()) throw ConfigError(fmt::format("--plan: no stage of the config has steps; name a stage, as in --plan {}", stage_name::mfd));
  std::vector<Implied> reported;
  for (const ReportedRun& run : reported_runs())
    if (is_recipe_of(run, recipe)) reported.push_back(implied_by(run, plans));
  if (csv) return csv_table(plans, sharded, reported, config);
  std::string out = machine_text(config);
  out += fmt::format("{:<10} {:>8} {:>6} {:>14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}\n", "stage", "steps", "batch", "FLOPs a step",
                     "memory", "sharded", "sent", "time", "samples/s", "GPU-days");
  for (std::size_t i = 0; i < plans.size(); ++i) out += stage_line(plans[i], sharded[i], config, false) + "\n";
  out += fmt::format(
      "{:<10} {:>94.2f}\nMemory, bytes sent and time are those of a step on one GPU; sharded: with --shard-optimizer. --plan STAGE "
      "describes one stage in full.\n",
      "all", days);
  return reported.empty() ? out : out + reported_text(reported);
}

}  // namespace fm
