// inspect: the contents of a checkpoint, the operations and memory of one training step, the costs of models, and a plan of a run on GPUs.
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/cli/console.h"
#include "apps/cli/program.h"
#include "apps/inspect/certificates.h"
#include "apps/inspect/flops.h"
#include "apps/inspect/plan_tables.h"
#include "apps/inspect/profile.h"
#include "autodiff/inspect.h"
#include "data/source.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/latents.h"
#include "flowmap/training/limits.h"
#include "flowmap/training/stage.h"
#include "nn/checkpoint.h"
#include "tensor/io/file_text.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/reduce.h"

using namespace fm;

namespace {

std::vector<std::string> planned_stages() {
  std::vector<std::string> names = generator_stages();
  names.insert(names.begin(), {"", "all"});
  return names;
}

struct InspectCommand {
  Recipe recipe;
  PlanConfig planned;
  std::string checkpoint, step, flops, profile, plan;
  bool tape = false, tensors = true, csv = false, machine = false, certify = false;
  std::int64_t profile_steps = 3;
  template <class V> void visit(V&& v) {
    v("checkpoint", checkpoint, "checkpoint to show: a run folder, checkpoint folder or .safetensors file, with :ema for the averaged weights",
      flag("checkpoint"), basic(), value_as("PATH"));
    v("tensors", tensors, "list of the tensors of the checkpoint", flag("tensors"));
    v("step", step, "memory of one training step with the config's DiT on random data; the value is the kind of step",
      one_of({"", stage_name::fm, "mf"}), flag("step"), basic());
    v("tape", tape, "list of the nodes on the tape, for --step", flag("tape"));
    v("flops", flops, "parameters and multiply-adds, in one line for each published model, or by module for the named model", alone("all"),
      flag("flops"), basic());
    v("profile", profile, "time of each part of a training step with the config's DiT on random data; the value is the stage",
      one_of({"", stage_name::fm, stage_name::mft, stage_name::mfd}), flag("profile"), basic());
    v("profile_steps", profile_steps, "number of steps that --profile measures, after two steps to warm up", range(1, 1e6), flag("profile-steps"));
    v("csv", csv, "comma-separated values from --flops, --profile, --plan and --certify", flag("csv"), basic());
    v("machine", machine, "measured peak performance of this machine", flag("machine"), basic());
    v("plan", plan, "predicted memory, traffic and time on GPUs, in one line for each stage of the config, or in full for the named stage", alone("all"),
      ChoiceRule{planned_stages()}, flag("plan"), basic());
    v("certify", certify, "closed-form checks in f64 of each objective's minimum, with the settings of [map.objective]", flag("certify"), basic());
    planned.visit(v);
    recipe.visit(v);
  }
};

void show_checkpoint(const InspectCommand& c, Context& context) {
  const Weights w = load_weights(c.checkpoint, [&](const std::string& line) { context.log.warning("{}", line); });
  std::int64_t values = 0;
  for (const auto& [name, t] : w.tensors) values += t.numel();
  print_result("file        {}\n", w.file.string());
  if (w.step >= 0) print_result("step        {}\n", w.step);
  print_result("tensors     {}, {} values{}\n", w.tensors.size(), values,
             w.unread.empty() ? "" : fmt::format(", and {} entries that cannot be read", w.unread.size()));
  if (w.state) {
    for (const char* key : {"stage", "seed"})
      if (w.state->contains(key)) print_result("{:<11} {}\n", key, (*w.state)[key].dump());
    if (w.state->contains("config")) print_result("config      {}\n", (*w.state)["config"].dump());
  }
  if (!c.tensors) return;
  for (const auto& [name, t] : w.tensors)
    print_result("{:<60} {:<5} {:<24} rms {:.4g}\n", one_line(name), name_of(t.dtype()), to_string(t.shape()),
               is_floating(t.dtype()) ? std::sqrt(sum_squares(t) / std::max<double>(1, static_cast<double>(t.numel()))) : 0.0);
  for (const UnreadEntry& entry : w.unread) print_result("{:<60} not read: {}\n", one_line(entry.name), entry.why);
}

// ConfigError if a step of this stage does not fit into memory.
void check_memory(const Recipe& recipe, const std::string& stage) {
  const std::string p = beyond_memory(static_cast<double>(stage_cost(recipe, stage).memory()), "a step of " + stage,
                                      fmt::format("a batch of {}", stage_loop(recipe, stage).batch), "lower --" + stage + ".loop.batch");
  if (!p.empty()) throw ConfigError(p);
}

// Random latents stand for data: memory and the tape do not depend on the values.
void show_step(InspectCommand& c) {
  c.recipe.resolve_with_data();
  const StageSpec& stage = stage_named(c.step == "mf" ? stage_name::mfd : stage_name::fm);
  check_memory(c.recipe, stage.name);
  const LoopConfig& loop = stage.loop(c.recipe);
  Network network;
  {
    const OpName name("weights");  // counts the weights apart from the step's memory
    network = c.recipe.network.make(stage.makes == Makes::flow_map, 1);
  }
  const Batch batch = random_batch(c.recipe, loop.batch, 1);
  const Stage training = flow_stage(stage.name, loop, {.objective = stage.objective_in(c.recipe), .network = network,
                                                       .batch = [batch](const StepPart&) { return batch; }, .averaged = false}).stage;
  const std::size_t before = memory_stats().live;
  reset_memory_peak();
  Tape tape;
  const StepLoss o = training.loss({0, 0, loop.batch, -1, loop.steps});
  if (c.tape) print_result("{}", tape.to_string());
  print_result("batch {}, {} nodes on the tape\nheld after the forward pass:\n{}", loop.batch, tape.size(), memory_table());
  backward(o.loss);
  print_result("peak of the whole step: {:.1f} MiB above the {:.1f} MiB of weights\n",
             static_cast<double>(memory_stats().peak - before) / (1 << 20), static_cast<double>(before) / (1 << 20));
}

int inspect(InspectCommand& c, Context& context) {
  if (c.checkpoint.empty() + c.step.empty() + c.flops.empty() + c.profile.empty() + c.plan.empty() + !c.machine + !c.certify != 6)
    throw ConfigError(
        "inspect needs one of --checkpoint PATH, --step fm|mf, --flops [MODEL], --profile fm|mft|mfd, --plan [STAGE], --certify and --machine");
  if (c.csv && c.flops.empty() && c.profile.empty() && c.plan.empty() && !c.certify) throw ConfigError("--csv needs one of --flops, --profile, --plan and --certify");
  if (!c.checkpoint.empty()) show_checkpoint(c, context);
  else if (!c.flops.empty()) print_result("{}", c.flops == "all" ? flops_of_all(c.csv) : flops_by_module(c.flops, c.csv));
  else if (c.machine) print_result("{}", machine_table());
  else if (c.certify) return show_certificates(c.recipe.map.objective, c.csv) ? exit_code::finished : exit_code::failed;
  else if (!c.step.empty()) show_step(c);
  else {
    c.recipe.resolve_with_data();
    if (!c.profile.empty()) check_memory(c.recipe, c.profile);
    print_result("{}", c.plan.empty()    ? profile_step(c.recipe, c.profile, c.profile_steps, c.csv)
                     : c.plan == "all" ? plan_of_recipe(c.recipe, c.planned, c.csv)
                                       : plan_of_stage(c.recipe, c.plan, c.planned, c.csv));
  }
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "inspect", .summary = "Shows the contents of a checkpoint, the operations and memory of a training step, or the costs of models.",
                  .quickstart = "inspect --checkpoint runs/quickstart/mfd:ema"};
  program.add<InspectCommand>({.name = "", .help = "show a checkpoint, a training step or the costs of models", .has_folder = false,
                               .unlisted = entries_besides({"seed"}), .listed_by = lists_all_entries}, inspect);
  return run_program(program, argc, argv);
}
