#include "apps/train/loop.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "apps/support/build_info.h"
#include "apps/support/progress.h"
#include "apps/support/ranks.h"
#include "apps/support/signals.h"
#include "apps/support/toml.h"
#include "apps/train/loop_checkpoints.h"
#include "apps/train/loop_files.h"
#include "apps/train/loop_step.h"
#include "apps/train/parallel.h"
#include "apps/train/training_run.h"
#include "tensor/interrupt.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

AdamW make_optimizer(Stage& stage, const LoopConfig& loop, Context& context) {
  AdamW optimizer(stage.trained, loop.adamw);
  if (!stage.averaged.empty()) optimizer.add_average(stage.averaged, loop.ema, loop.ema_ramp);
  if (context.launch.shard_optimizer) optimizer.shard(*context.ranks);
  return optimizer;
}

class TrainLoop {
 public:
  TrainLoop(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, Context& context)
      : stage_(stage),
        loop_(loop),
        seed_(seed),
        which_files_(files),
        context_(context),
        ranks_(*context.ranks),
        path_(std::filesystem::path(context.launch.out) / stage.name),
        optimizer_(make_optimizer(stage, loop, context)),
        checkpoints_(stage, loop, seed, optimizer_, context),
        one_(stage, loop, optimizer_, context),
        watch_(stage.name, stage.watch, context.log) {}

  Outcome run() {
    // The first rank owns the folder; the others read what it leaves there.
    if (ranks_.first()) files_ = std::make_unique<LoopFiles>(stage_, loop_, which_files_, context_);
    step_ = checkpoints_.resume();
    take_watch();
    check_same_start(ranks_, alone() ? "" : to_toml(fields_of(stage_, context_)), alone() ? "" : start_facts());
    if (step_ >= loop_.steps) {
      if (files_) files_->tell_differences("; --fresh trains it anew");
      make_good();
      context_.log.info("{}: done ({} steps)", stage_.name, step_);
      return Outcome::finished;
    }
    if (stage_.prepare) stage_.prepare();
    if (files_) begin_files();
    release_averages();
    try {
      const Outcome outcome = steps_or_rewound();
      optimizer_.gather_averages(-1);
      synchronise(default_device());
      ranks_.check_alive();                      // else these averages are nobody's
      end_session(outcome == Outcome::finished ? exit_code::finished : exit_code::stopped_early);
      ranks_.barrier();                          // whoever goes on finds the last checkpoint
      return outcome;
    } catch (const DivergedError& e) {
      end_session(exit_code::diverged);
      throw DivergedError(fmt::format("{}{}; {}", stage_prefix(e.what()), e.what(), checkpoints_.advice_after_divergence()));
    } catch (const StopRequested&) {               // data that is only read in the first step
      end_session(exit_code::stopped_early);
      throw;
    } catch (const FileError&) {
      end_session(exit_code::unreadable);
      throw;
    } catch (const RankStoppedError&) {
      end_session(exit_code::stopped_early);
      throw;
    } catch (const RankLostError&) {
      end_session(exit_code::rank_lost);
      throw;
    } catch (...) {
      end_session(exit_code::failed);
      throw;
    }
  }

 private:
  bool alone() const { return ranks_.size() == 1; }

  void begin_files() {
    if (step_ > 0) files_->tell_differences("");
    else tell_start();
    files_->begin(seed_, step_);
  }

  // The optimizer does not know whose parameters it has.
  std::string stage_prefix(std::string_view message) const { return message.starts_with(stage_.name + ":") ? "" : stage_.name + ": "; }

  // A process that was ended between the last checkpoint and what comes after it: its samples, its report and its end are written now.
  void make_good() {
    const bool here = files_ && files_->lacks_something(step_);
    if (alone() ? !here : sum_over_ranks(ranks_, {here ? 1.0 : 0.0})[0] == 0) return;
    if (files_) files_->begin_again(seed_, step_);
    if (stage_.preview && loop_.sample_every >= 0) preview();
    if (files_) files_->report();
    end_session(exit_code::finished);
  }

  void end_session(int code) {
    if (files_) files_->end(code, step_);
  }

  // What must be the same on all ranks beside the config.
  std::string start_facts() const {
    return fmt::format("{} at step {} with seed {} and weights {} by build {} in {}", stage_.name, step_, seed_, checksum(stage_.model), build_info().git,
                       context_.launch.out);
  }

  void tell_start() const {
    const Launch& launch = context_.launch;
    const std::string from =
        launch.init_from.empty() ? "" : fmt::format(", weights from {}{}", launch.init_from, launch.init_from_ema ? ":ema" : "");
    context_.log.info("{}: {} steps of {}{}, into {}", stage_.name, loop_.steps, loop_.batch, from, path_.string());
    if (!stage_.remark.empty()) context_.log.info("{}: {}", stage_.name, stage_.remark);
  }

  void take_watch() {
    watch_.restore(checkpoints_.watch());
    one_.scale_rate(watch_.rate_scale());
  }

  // By --on-explosion rewind: goes back as often as it explodes (LoopWatch bounds that).
  Outcome steps_or_rewound() {
    while (true) {
      try {
        return steps_or_lost();
      } catch (const ExplodedError& e) {
        if (!watch_.rewinds()) throw;
        rewind(e, e.began);
      } catch (const DivergedError& e) {
        if (!watch_.rewinds()) throw;
        rewind(e, step_ + 1);
      }
    }
  }

  void rewind(const DivergedError& e, std::int64_t before) {
    context_.log.warning("{}{}", stage_prefix(e.what()), e.what());
    late_.reset();
    const std::int64_t step = checkpoints_.rewind(before, watch_.rewound_to());
    if (step < 0) throw DivergedError(fmt::format("{}: no checkpoint from before the explosion to rewind to", stage_.name));
    watch_.rewind(step, checkpoints_.watch());
    step_ = step;
    one_.scale_rate(watch_.rate_scale());
    checkpoints_.save(step_, checkpoints_.loss(), watch_.state(), false);      // a process killed now resumes with the lower rate
    if (files_) files_->rewind(step_);
    release_averages();
    context_.log.warning("{}: rewound to step {}, the learning rate is now {} of the schedule's", stage_.name, step_, watch_.rate_scale());
  }

  // GPUs go on with what tensors hold when a rank is lost: what they then compute says nothing. All ranks diverge together; none leaves before
  // all have looked, or its going would be the loss that the others see.
  Outcome steps_or_lost() {
    try {
      return steps();
    } catch (const DivergedError&) {
      ranks_.check_alive();
      ranks_.barrier();
      throw;
    }
  }

  Outcome steps() {
    if (context_.launch.cuda_graph) one_.prepare_recording();
    first_step_ = step_;
    Progress progress(context_.log,
                      {.total_steps = loop_.steps, .done_steps = step_, .samples_per_step = loop_.batch, .log_every = loop_.log_every});
    saved_ = step_;
    hold_.emplace();                               // a stop waits for the step, which is then saved
    while (step_ < loop_.steps) {
      StepNumbers numbers = step_or_saved();
      const bool logged = step_ % loop_.log_every == 0 || step_ == loop_.steps;
      const StepReport report = read(std::move(numbers), logged || step_ == first_step_ + 1 || all_known());
      progress.step_done(step_, report);
      if (logged) log(report, progress.state());
      watch(report, logged || all_known());
      const bool last = step_ == loop_.steps, stop = !last && (alone() ? stop_requested() : !one_.agreed().stop.empty());
      const auto excluded = progress.exclude();
      if (last || stop || step_ % loop_.ckpt_every == 0 || (alone() ? take_save_request() : one_.agreed().save)) save();
      const std::int64_t every = loop_.sample_every;
      if (stage_.preview && ((last && every >= 0) || (every > 0 && step_ % every == 0))) preview();
      if (stop) {
        progress.finish();
        tell_waits();
        context_.log.info("{}: {} at step {}; saved, {} goes on from here", stage_.name, alone() ? stop_reason() : one_.agreed().stop, step_,
                          context_.launch.resume == "auto" ? "the same command" : "the same command without --fresh or --resume");
        return Outcome::stopped;
      }
    }
    tell_waits();
    return Outcome::finished;
  }

  // One process on the CPU has every number of a step at once; otherwise reading them, and their mean over ranks, is for steps that are logged.
  bool all_known() const { return alone() && !default_device().is_cuda(); }

  void watch(const StepReport& report, bool complete) {
    LoopWatch::Numbers numbers{{"loss", report.loss}, {"grad_norm", report.grad_norm}};
    if (complete)
      for (const StepMetric& m : metrics_now_) numbers.emplace_back(m.name, double(m.value));
    watch_.observe(step_, numbers, complete);
  }

  // A stop asked for meanwhile ends the picture, not the training before it is saved.
  void preview() {
    optimizer_.gather_averages(0);
    hold_.reset();
    if (files_) files_->preview(step_);
    hold_.emplace();
    ranks_.barrier();                              // as after saving
    release_averages();
  }

  // A step that fails (data that cannot be read, memory that is not there) does not take those before it along.
  StepNumbers step_or_saved() {
    try {
      return one_step();
    } catch (const DivergedError&) {
      throw;
    } catch (const std::exception&) {
      if (alone() && step_ > saved_) save_despite_error();
      throw;
    }
  }

  void save_despite_error() {
    try {
      save();
      context_.log.info("{}: saved at step {}, before the step that failed", stage_.name, step_);
    } catch (const std::exception& e) {            // the error that led here is the one to report
      context_.log.warning("{}: step {} is not saved: {}", stage_.name, step_, e.what());
    }
  }

  StepNumbers one_step() {
    const std::int64_t waits = host_waits(default_device());
    StepNumbers told = to_be_drawn() ? one_.run_drawn(step_) : one_.run(step_);
    ++step_;
    told.send();
    if (step_ > first_step_ + 1) waits_ += host_waits(default_device()) - waits;   // the first one may have data to prepare
    return told;
  }

  // The third step of this process, when the caches are warm and buckets in their order.
  bool to_be_drawn() const {
    return !context_.launch.trace.empty() && ranks_.first() && step_ == std::min(first_step_ + 3, loop_.steps) - 1;
  }

  // On the CPU what this step told. A GPU is still computing it: then what the step before told, so that the device is never without work
  // while the host waits; `now` reads all of this step.
  StepReport read(StepNumbers numbers, bool now) {
    read_late();
    if (!now && !numbers.known()) late_ = std::move(numbers);
    else report_ = received(numbers, now);
    return report_;
  }

  void read_late() {
    if (late_) report_ = received(*late_, false);
    late_.reset();
  }

  StepReport received(StepNumbers& numbers, bool with_metrics) {
    const StepReport report = numbers.received();
    if (alone()) check_finite(stage_.name, report.loss, numbers.step);
    if (!std::isfinite(report.grad_norm)) {
      const std::string first = numbers.squares.defined() ? optimizer_.first_not_finite(numbers.squares) : "";
      throw DivergedError(fmt::format("{}: the norm of the gradients is {} at step {}{}",
                                      stage_.name, report.grad_norm, numbers.step, first.empty() ? "" : ", that of " + first + " first"));
    }
    if (with_metrics) metrics_now_ = numbers.metrics();
    return {alone() ? report.loss : one_.agreed().loss, report.grad_norm, report.lr};
  }

  void tell_waits() const {
    if (default_device().is_cuda())
      context_.log.info("{}: the host waited for {} {} times inside of {} steps after the first", stage_.name, to_string(default_device()), waits_,
                         step_ - first_step_ - 1);
  }

  void log(const StepReport& report, const ProgressState& state) {
    metrics_now_ = metrics_of_all(ranks_, metrics_now_);
    if (!files_) return;
    std::vector<Metric> row{{"loss", report.loss}, {"grad_norm", report.grad_norm}, {"lr", report.lr}};
    for (const StepMetric& m : metrics_now_) row.push_back({m.name, double(m.value)});
    if (watch_.explosions() > 0) row.push_back({"explosions", static_cast<double>(watch_.explosions())});
    row.push_back({"samples_per_second", state.samples_per_second});
    row.push_back({"memory_mib", static_cast<double>(state.memory_bytes) / (1 << 20)});
    row.push_back({"tensor_peak_mib", static_cast<double>(memory_stats().peak) / (1 << 20)});          // of this stage
    row.push_back({"tensor_held_mib", static_cast<double>(memory_stats().most) / (1 << 20)});          // with what is kept for reuse
    files_->log(step_, row);
  }

  void save() {
    read_late();                                           // what diverged is not saved
    synchronise(default_device());
    ranks_.check_alive();
    const bool best = watch_.is_best();
    checkpoints_.save(step_, report_.loss, watch_.state(), best);
    saved_ = step_;
    if (files_) files_->report();
    ranks_.barrier();                                      // before work on the GPU, whose deadline is not for the first rank's writing
  }

  // Sharded: of what other ranks own only shapes stay here.
  void release_averages() {
    if (!optimizer_.sharded()) return;
    optimizer_.release_averages();
    for (auto& [name, t] : stage_.ema) {
      const int owner = optimizer_.owner_of(name);
      if (owner >= 0 && owner != ranks_.rank()) t = Tensor::scalar(0, t.dtype(), Device{}).expand(t.shape());
    }
  }

  Stage& stage_;
  const LoopConfig& loop_;
  std::uint64_t seed_;
  LogFiles which_files_;
  Context& context_;
  Communicator& ranks_;
  std::filesystem::path path_;
  std::unique_ptr<LoopFiles> files_;               // of the first rank
  AdamW optimizer_;
  LoopCheckpoints checkpoints_;
  LoopStep one_;
  LoopWatch watch_;
  std::vector<StepMetric> metrics_now_;            // of the last step that was read with its metrics
  std::int64_t waits_ = 0, first_step_ = 0;        // waits for the GPU inside of steps; where this process began
  std::optional<StepNumbers> late_;                // of the step before, on a GPU
  StepReport report_;
  std::int64_t step_ = 0, saved_ = 0;              // saved_: of the newest checkpoint
  std::optional<HoldInterrupts> hold_;             // while steps are made that are not saved
};

}  // namespace

Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, Context& context) {
  check(loop.rate);
  reset_memory_peak();
  return TrainLoop(stage, loop, seed, files, context).run();
}

}  // namespace fm
