#include "nn/training/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "nn/config/toml_text.h"
#include "nn/loaded.h"
#include "nn/training/checkpoints.h"
#include "nn/training/parallel.h"
#include "nn/training/step.h"
#include "tensor/interrupt.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

AdamW make_optimizer(Stage& stage, const LoopConfig& loop, const TrainOptions& options, Communicator& ranks) {
  AdamW optimizer(stage.trained, loop.adamw);
  if (!stage.averaged.empty()) optimizer.add_average(stage.averaged, loop.ema, loop.ema_ramp);
  if (options.shard_optimizer) optimizer.shard(ranks);
  return optimizer;
}

// Calls steps_begin and steps_end of the observer. AsideScope below marks work that belongs to no step.
class StepsScope {
 public:
  StepsScope(LoopObserver& observer, std::int64_t step) : observer_(observer) { observer_.steps_begin(step); }
  ~StepsScope() { observer_.steps_end(); }
  StepsScope(const StepsScope&) = delete;
  StepsScope& operator=(const StepsScope&) = delete;

 private:
  LoopObserver& observer_;
};
class AsideScope {
 public:
  explicit AsideScope(LoopObserver& observer) : observer_(observer) { observer_.aside_begins(); }
  ~AsideScope() { observer_.aside_ends(); }
  AsideScope(const AsideScope&) = delete;
  AsideScope& operator=(const AsideScope&) = delete;

 private:
  LoopObserver& observer_;
};

class TrainLoop {
 public:
  TrainLoop(Stage& stage, const LoopConfig& loop, std::uint64_t seed, const TrainOptions& options, Communicator& ranks, LoopObserver& observer)
      : stage_(stage),
        loop_(loop),
        seed_(seed),
        options_(options),
        ranks_(ranks),
        observer_(observer),
        optimizer_(make_optimizer(stage, loop, options, ranks)),
        checkpoints_(stage, loop, seed, optimizer_, options, ranks, observer),
        one_(stage, loop, optimizer_, options, ranks, observer),
        watch_(stage.name, stage.watch, stage.remedies, observer) {
    if (loop.score_every > 0) watch_.set_scores(stage.scores.names, stage.scores.higher);
  }

  Outcome run() {
    if (loop_.score_every > 0 && stage_.scores.names.empty())
      throw ConfigError(fmt::format("{}: score_every {}: this stage has no scores; only generators are scored: set it to 0", stage_.name, loop_.score_every));
    const auto& scored = stage_.scores.names;
    if (loop_.score_every > 0 && loop_.ckpt_every % loop_.score_every != 0 && std::find(scored.begin(), scored.end(), stage_.watch.keep_best) != scored.end())
      warn("{}: checkpoints of every {} steps and scores of every {}: only a checkpoint of a scored step can be the best by {}; make ckpt_every a multiple of score_every", stage_.name,
           loop_.ckpt_every, loop_.score_every, stage_.watch.keep_best);
    observer_.opening({stage_, loop_, options_, ranks_, seed_});
    step_ = checkpoints_.resume();
    take_watch();
    check_same_start(ranks_, alone() ? "" : to_toml(options_.fields_of(stage_)), alone() ? "" : start_facts());
    if (step_ >= loop_.steps) {
      make_good(observer_.found_done(step_));
      say("{}: done ({} steps)", stage_.name, step_);
      return Outcome::finished;
    }
    if (stage_.prepare) stage_.prepare();
    observer_.started(step_);
    release_averages();
    try {
      const Outcome outcome = steps_or_rewound();
      optimizer_.gather_averages(-1);
      synchronise(default_device());
      ranks_.check_alive();                      // throws if a rank is lost: the averages would be incomplete
      observer_.ended(step_, outcome);
      ranks_.barrier();                          // the last checkpoint is written before any rank resumes
      return outcome;
    } catch (const DivergedError& e) {
      observer_.failed(step_, e);
      throw DivergedError(fmt::format("{}{}; {}", stage_prefix(e.what()), e.what(), checkpoints_.advice_after_divergence()));
    } catch (const std::exception& e) {
      observer_.failed(step_, e);
      throw;
    }
  }

 private:
  bool alone() const { return ranks_.size() == 1; }
  template <class... Args> void say(fmt::format_string<Args...> text, Args&&... args) const {
    observer_.message(fmt::format(text, std::forward<Args>(args)...));
  }
  template <class... Args> void warn(fmt::format_string<Args...> text, Args&&... args) const {
    observer_.warning(fmt::format(text, std::forward<Args>(args)...));
  }

  // The name of the stage, for messages that do not begin with it (the optimizer does not know it).
  std::string stage_prefix(std::string_view message) const { return message.starts_with(stage_.name + ":") ? "" : stage_.name + ": "; }

  // Writes the last samples and report, if an earlier process ended after the last checkpoint but before these files.
  void make_good(bool incomplete) {
    if (alone() ? !incomplete : sum_over_ranks(ranks_, {incomplete ? 1.0 : 0.0})[0] == 0) return;
    observer_.completing(step_);
    if (stage_.preview && loop_.sample_every >= 0) preview();
    observer_.saved(step_);
    observer_.ended(step_, Outcome::finished);
  }

  // The facts that must be equal on all ranks besides the config.
  std::string start_facts() const {
    return fmt::format("{} at step {} with seed {} and weights {}{}", stage_.name, step_, seed_, checksum(stage_.model), options_.facts);
  }

  void take_watch() {
    watch_.restore(checkpoints_.watch());
    if (step_ > 0) watch_.resumed(checkpoints_.way_back());
    one_.scale_rate(watch_.rate_scale());
  }

  // With WatchConfig::on_explosion = rewind, training rewinds after every explosion, up to the limit in LoopWatch.
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
    warn("{}{}", stage_prefix(e.what()), e.what());
    late_.reset();
    const std::int64_t step = checkpoints_.rewind(before, watch_.rewound_to());
    if (step < 0) throw DivergedError(fmt::format("{}: no checkpoint from before the explosion to rewind to", stage_.name));
    watch_.rewind(step, checkpoints_.watch());
    step_ = step;
    one_.scale_rate(watch_.rate_scale());
    checkpoints_.save(step_, checkpoints_.loss(), watch_.state(), false);      // a process that is killed now resumes with the lower rate
    observer_.rewound(step_);
    release_averages();
    warn("{}: rewound to step {}, the learning rate is now {} of the schedule's", stage_.name, step_, watch_.rate_scale());
  }

  // After a DivergedError, checks that no rank is lost: a lost rank leaves GPUs with undefined tensors, which look like a divergence. A divergence is
  // the same on all ranks. All ranks leave together: if one left alone, the others would report it as lost.
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
    if (options_.cuda_graph) one_.prepare_recording();
    first_step_ = step_;
    const StepsScope scope(observer_, step_);
    saved_ = step_;
    hold_.emplace();                               // a stop waits for the end of the step, which is then saved
    while (step_ < loop_.steps) {
      StepNumbers numbers = step_or_saved();
      const bool scored = is_scored(step_), logged = scored || step_ % loop_.log_every == 0 || step_ == loop_.steps;
      const StepReport report = read(std::move(numbers), logged || step_ == first_step_ + 1 || all_known());
      observer_.step_done(step_, report);
      watch_.take_scores({});
      if (scored) score_or_saved();
      if (logged) log(report);
      watch(report, logged || all_known());
      const bool last = step_ == loop_.steps;
      const std::string stop = last ? "" : alone() ? observer_.stop_reason() : one_.agreed().stop;
      const AsideScope aside(observer_);
      if (last || !stop.empty() || step_ % loop_.ckpt_every == 0 || (alone() ? observer_.save_requested() : one_.agreed().save)) save();
      const std::int64_t every = loop_.sample_every;
      if (stage_.preview && ((last && every >= 0) || (every > 0 && step_ % every == 0))) preview();
      if (stop.empty()) continue;
      tell_waits();
      observer_.stopped(step_, stop);
      return Outcome::stopped;
    }
    tell_waits();
    return Outcome::finished;
  }

  // True if all numbers of a step can be read at no cost: on the CPU, with one rank. Otherwise only logged steps read them and average them over ranks.
  bool all_known() const { return alone() && !default_device().is_cuda(); }

  bool is_scored(std::int64_t step) const { return loop_.score_every > 0 && (step % loop_.score_every == 0 || step == loop_.steps); }

  // Measures the scores of this step on the first rank. A stop that is requested meanwhile waits until they are logged and the step is saved.
  void score() {
    const AsideScope aside(observer_);
    optimizer_.gather_averages(0);
    std::vector<double> values(stage_.scores.names.size());
    if (ranks_.first()) values = stage_.scores.measure(step_);
    if (!alone()) values = sum_over_ranks(ranks_, values);
    release_averages();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isnan(values[i])) scores_now_.emplace_back(stage_.scores.names[i], values[i]);
    watch_.take_scores(scores_now_);
  }

  // If the scores of a finished step cannot be measured, saves the step.
  void score_or_saved() {
    try {
      score();
    } catch (const std::exception&) {
      if (alone() && step_ > saved_) save_despite_error("whose scores failed");
      throw;
    }
  }

  void watch(const StepReport& report, bool complete) {
    LoopNumbers numbers{{"loss", report.loss}, {"grad_norm", report.grad_norm}};
    if (complete)
      for (const StepMetric& m : metrics_now_) numbers.emplace_back(m.name, double(m.value));
    watch_.observe(step_, numbers, complete);
  }

  // A stop that is requested during the preview ends the preview; the training is saved before it ends.
  void preview() {
    optimizer_.gather_averages(0);
    hold_.reset();
    observer_.preview(step_);
    hold_.emplace();
    ranks_.barrier();                              // as in save()
    release_averages();
  }

  // Makes a step. If it fails (unreadable data, no memory), saves the results of the steps before it, unless the optimizer has already changed the
  // weights.
  StepNumbers step_or_saved() {
    const std::int64_t updates = optimizer_.updates();
    try {
      return one_step();
    } catch (const DivergedError&) {
      throw;
    } catch (const std::exception&) {
      if (alone() && step_ > saved_ && optimizer_.updates() == updates) save_despite_error("before the step that failed");
      throw;
    }
  }

  void save_despite_error(const char* which) {
    try {
      save();
      say("{}: saved at step {}, {}", stage_.name, step_, which);
    } catch (const std::exception& e) {            // the original error is reported
      warn("{}: step {} is not saved: {}", stage_.name, step_, e.what());
    }
  }

  StepNumbers one_step() {
    const std::int64_t waits = host_waits(default_device());
    StepNumbers numbers = to_be_traced() ? one_.run_traced(step_) : one_.run(step_);
    ++step_;
    numbers.send();
    if (step_ > first_step_ + 1) waits_ += host_waits(default_device()) - waits;   // the first step may have to prepare data
    return numbers;
  }

  // True for the third step of this process, when caches are warm and the gradient buckets have their final order.
  bool to_be_traced() const {
    return !options_.trace.empty() && ranks_.first() && step_ == std::min(first_step_ + 3, loop_.steps) - 1;
  }

  // Returns the report of this step, or, while a GPU still computes it, that of the step before, so that the device has work while the host waits.
  // With `now` it waits for this step and reads its metrics too.
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
                                      stage_.name, report.grad_norm, numbers.step, first.empty() ? "" : "; the gradient of " + first + " is the first that is not finite"));
    }
    watch_.saw_norm(report.grad_norm);
    if (with_metrics) metrics_now_ = numbers.metrics();
    return {alone() ? report.loss : one_.agreed().loss, report.grad_norm, report.lr};
  }

  void tell_waits() const {
    if (default_device().is_cuda())
      say("{}: the host waited for {} {} times inside of {} steps after the first", stage_.name, to_string(default_device()), waits_,
          step_ - first_step_ - 1);
  }

  void log(const StepReport& report) {
    metrics_now_ = metrics_of_all(ranks_, metrics_now_);
    LoopNumbers row{{"loss", report.loss}, {"grad_norm", report.grad_norm}, {"lr", report.lr}, {"grad_norm_max", watch_.take_largest_norm()}};
    for (const StepMetric& m : metrics_now_) row.emplace_back(m.name, double(m.value));
    for (LoopNumbers scores = std::exchange(scores_now_, {}); const auto& score : scores) row.push_back(score);
    if (watch_.explosions() > 0) row.emplace_back("explosions", static_cast<double>(watch_.explosions()));
    observer_.row(step_, row);
  }

  void save() {
    read_late();                                           // a diverged state is not saved: this throws
    synchronise(default_device());
    ranks_.check_alive();
    const bool best = watch_.is_best(step_);
    checkpoints_.save(step_, report_.loss, watch_.state(), best);
    saved_ = step_;
    observer_.saved(step_);
    ranks_.barrier();                                      // GPU work has a deadline, so other ranks wait here until the first rank has written
  }

  // If sharded, releases the averages that other ranks own. stage_.ema keeps tensors of their shapes.
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
  const TrainOptions& options_;
  Communicator& ranks_;
  LoopObserver& observer_;
  AdamW optimizer_;
  LoopCheckpoints checkpoints_;
  LoopStep one_;
  LoopWatch watch_;
  LoopNumbers scores_now_;                         // of this step, until they are logged
  std::vector<StepMetric> metrics_now_;            // metrics of the last step that read them
  std::int64_t waits_ = 0, first_step_ = 0;        // number of waits for the GPU inside steps; first step of this process
  std::optional<StepNumbers> late_;                // numbers of the previous step, on a GPU
  StepReport report_;
  std::int64_t step_ = 0, saved_ = 0;              // saved_: step of the newest checkpoint
  std::optional<HoldInterrupts> hold_;             // set while there are unsaved steps
};

}  // namespace

Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, const TrainOptions& options, Communicator& ranks, LoopObserver& observer) {
  check(loop.rate);
  reset_memory_peak();
  return TrainLoop(stage, loop, seed, options, ranks, observer).run();
}

}  // namespace fm
