#include "apps/run/run_observer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>

#include "apps/cli/build_info.h"
#include "apps/run/signals.h"
#include "flowmap/training/backbones.h"
#include "flowmap/training/chain/stages.h"
#include "nn/checkpoint_folder.h"
#include "nn/training/ranks.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

template <class E> bool is(const std::exception& error) { return dynamic_cast<const E*>(&error) != nullptr; }

}  // namespace

TrainOptions train_options(const Context& context) {
  const Launch& launch = context.launch;
  return {.out = launch.out,
          .resume = launch.resume,
          .cuda_graph = launch.cuda_graph,
          .shard_optimizer = launch.shard_optimizer,
          .trace = launch.trace,
          .fields = context.fields,
          .facts = fmt::format(" by build {} in {}", build_info().git, launch.out),
          .names = {.out = "--out", .resume = "--resume", .cuda_graph = "--cuda-graph", .fresh = "--fresh"}};
}

void RunObserver::message(const std::string& line) { context_.log.info("{}", line); }
void RunObserver::warning(const std::string& line) { context_.log.warning("{}", line); }

void RunObserver::opening(const TrainingSetup& setup) {
  take(setup);
  seed_ = setup.seed;
  fields_ = setup.options.fields_of(setup.stage);
  if (writes()) run_.emplace(folder(), context_.launch.fresh, context_.log);
  if (context_.ranks.alone()) return;
  // Lists the checkpoints when a rank is lost: the first rank may have written one since this rank last looked.
  context_.ranks.set_remedy([checkpoints = CheckpointFolder(setup.options.checkpoints(stage()), loop().keep, loop().keep_every), name = stage().name] {
    const auto steps = checkpoints.newest_first();
    return steps.empty() ? fmt::format("; {} has no checkpoint yet: start the same command again", name)
                         : fmt::format("; the last checkpoint is {}: start the same command again, on any number of ranks, to resume from it",
                                       checkpoints.path(steps[0]).string());
  });
}

void RunObserver::begin_session(std::int64_t step) {
  run_->begin_session({.command_line = context_.command_line, .seed = static_cast<std::int64_t>(seed_ & 0x7fffffffffffffff),
                       .threads = omp_get_max_threads(), .ranks = context_.ranks->size(), .device = to_string(default_device()),
                       .resumed_from = step > 0 ? step : -1});
  open_metrics(step);
}

void RunObserver::started(std::int64_t step) {
  if (!writes()) return;
  if (step > 0) tell_differences("");
  else tell_start();
  run_->write_config(fields_);
  begin_session(step);
}

void RunObserver::tell_start() const {
  const Launch& launch = context_.launch;
  const std::string from = launch.init_from.empty() ? "" : fmt::format(", weights from {}{}", launch.init_from, launch.init_from_ema ? ":ema" : "");
  context_.log.info("{}: {} steps of {}{}, into {}", stage().name, loop().steps, loop().batch, from, folder().string());
  if (!stage().remark.empty()) context_.log.info("{}: {}", stage().name, stage().remark);
}

bool RunObserver::found_done(std::int64_t step) {
  if (!writes()) return false;
  tell_differences("; --fresh trains it anew");
  return !run_->ended_well() || RunFiles::found_done(step);
}

// Keeps the config.toml of the session that trained.
void RunObserver::completing(std::int64_t step) {
  if (writes()) begin_session(step);
}

void RunObserver::steps_begin(std::int64_t step) {
  progress_.emplace(context_.log,
                    Progress::Options{.total_steps = loop().steps, .done_steps = step, .samples_per_step = loop().batch, .log_every = loop().log_every});
}

void RunObserver::steps_end() noexcept { progress_.reset(); }

void RunObserver::step_done(std::int64_t step, const StepReport& report) { progress_->step_done(step, report); }

void RunObserver::row(std::int64_t step, const LoopNumbers& numbers) {
  LoopNumbers all = numbers;
  const ProgressState& state = progress_->state();
  all.emplace_back("samples_per_second", state.samples_per_second);
  all.emplace_back("memory_mib", static_cast<double>(state.memory_bytes) / (1 << 20));
  all.emplace_back("tensor_peak_mib", static_cast<double>(memory_stats().peak) / (1 << 20));          // of this stage
  all.emplace_back("tensor_held_mib", static_cast<double>(memory_stats().most) / (1 << 20));          // with the memory kept for reuse
  RunFiles::row(step, all);
}

void RunObserver::aside_begins() { aside_.emplace(*progress_); }
void RunObserver::aside_ends() noexcept { aside_.reset(); }

bool RunObserver::make_preview(std::int64_t step, const std::filesystem::path& png) {
  try {
    return RunFiles::make_preview(step, png);
  } catch (const StopRequested&) {
    context_.log.info("{}: no samples of step {}: {}", stage().name, step, ::fm::stop_reason());
    return false;
  }
}

std::string RunObserver::stop_reason() { return stop_requested() ? ::fm::stop_reason() : std::string(); }
bool RunObserver::save_requested() { return take_save_request(); }

void RunObserver::stopped(std::int64_t step, const std::string& reason) {
  progress_->finish();
  context_.log.info("{}: {} at step {}; saved, {} resumes from this step", stage().name, reason, step,
                    context_.launch.resume == "auto" ? "the same command" : "the same command without --fresh or --resume");
}

void RunObserver::end_session(int exit_code, std::int64_t step) {
  if (run_) attempt("run.json", [&] { run_->end_session(exit_code, step); });
}

void RunObserver::ended(std::int64_t step, Outcome outcome) {
  end_session(outcome == Outcome::finished ? exit_code::finished : exit_code::stopped_early, step);
}

void RunObserver::failed(std::int64_t step, const std::exception& error) {
  // StopRequested comes from data that is read only in the first step.
  const int code = is<DivergedError>(error)      ? exit_code::diverged
                   : is<StopRequested>(error)    ? exit_code::stopped_early
                   : is<FileError>(error)        ? exit_code::unreadable
                   : is<RankStoppedError>(error) ? exit_code::stopped_early
                   : is<RankLostError>(error)    ? exit_code::rank_lost
                                                 : exit_code::failed;
  end_session(code, step);
}

// The config's section of the network that the field `network` names.
static std::string network_section(const Field& field) {
  NetworkConfig network;
  network.name = *std::get<std::string*>(field.value);
  return network.section();
}

// "map.objective.lsd.pairs...": settings of an objective that is not chosen.
static bool of_another_objective(const std::string& key, const std::vector<Field>& fields) {
  for (const Field& field : fields) {
    if (!field.path.ends_with(".objective.name") || !key.starts_with(field.group() + ".") || key == field.path) continue;
    return !key.starts_with(field.group() + "." + *std::get<std::string*>(field.value) + ".");
  }
  return false;
}

void RunObserver::tell_differences(const char* remedy) const {
  std::vector<std::string> added;                       // one line for all keys that the version which made the run did not have
  for (const std::string& difference : run_->config_differences(fields_)) {
    if (!concerns_stage(difference)) continue;
    const std::size_t at = difference.find(" is new: ");
    if (at == std::string::npos) context_.log.warning("{}: config: {}{}", stage().name, difference, remedy);
    else added.push_back(difference.substr(0, at) + " = " + difference.substr(at + 9));
  }
  if (!added.empty())
    context_.log.warning("{}: config: keys that the run's version did not have: {}", stage().name, fmt::join(added, ", "));
}

// "fm.loop.steps was 3, is 4" does not concern the stage mfd; "dit.width ..." concerns all stages if the network is the DiT.
bool RunObserver::concerns_stage(const std::string& difference) const {
  const std::string part = difference.substr(0, difference.find_first_of(". "));
  if (is_backbone_section(part))
    for (const Field& field : fields_)
      if (field.path == "network") return part == network_section(field);
  if (of_another_objective(difference.substr(0, difference.find(' ')), fields_)) return false;
  const std::string& own = stage().part.empty() ? stage().name : stage().part;
  const bool of_one = find_stage(part) != nullptr || part == "evaluate" || part == "log";
  return !of_one || part == own;
}

RunContext run_context(Context& context) {
  const bool variants = context.program == "ablate";
  const auto progress = [&context](const std::string& what, std::int64_t total) -> std::function<void(std::int64_t)> {
    return [shown = std::make_shared<ImageProgress>(context.log, what, total)](std::int64_t done) {
      throw_if_stop_requested();
      shown->at(done);
    };
  };
  const auto train_it = [&context](Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files) {
    RunObserver observer(files, context);
    return train(stage, loop, seed, train_options(context), *context.ranks, observer);
  };
  return {.launch = context.launch, .log = context.log, .ranks = context.ranks, .command = variants ? stage_name::mfd : context.command,
          .only_reads = context.program == "flowmap_sample" || context.program == "evaluate", .variants = variants, .build = variants ? numerics_of_build() : "", .progress = progress, .train = train_it};
}

}  // namespace fm
