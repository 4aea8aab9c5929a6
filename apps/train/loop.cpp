#include "apps/train/loop.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/support/build_info.h"
#include "apps/support/progress.h"
#include "apps/support/ranks.h"
#include "apps/support/run_folder.h"
#include "apps/support/signals.h"
#include "apps/support/toml.h"
#include "apps/support/trace.h"
#include "apps/support/training_report.h"
#include "apps/train/parallel.h"
#include "apps/train/recorded_step.h"
#include "apps/train/step_numbers.h"
#include "apps/train/training_run.h"
#include "autodiff/rules/elementwise.h"
#include "nn/checkpoint.h"
#include "nn/config/json.h"
#include "nn/optim/gradient_buckets.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

// Copies by name; FileError when something is missing or of another shape.
void restore(const NamedTensors& into, const NamedTensors& from, const std::string& part) {
  std::map<std::string, Tensor> stored(from.begin(), from.end());
  for (const auto& [name, tensor] : into) {
    const auto it = stored.find(name);
    if (it == stored.end() || it->second.shape() != tensor.shape())
      throw FileError(
          part + ": " + name +
          (it == stored.end() ? " is missing" : " has shape " + to_string(it->second.shape()) + ", not " + to_string(tensor.shape())) +
          "; the run was made with another config (use --fresh or another --out)");
    tensor.copy_from(it->second);
  }
}

class TrainLoop {
 public:
  TrainLoop(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, Context& context)
      : stage_(stage),
        loop_(loop),
        seed_(seed),
        files_(files),
        context_(context),
        ranks_(*context.ranks),
        path_(std::filesystem::path(context.launch.out) / stage.name),
        checkpoints_(path_ / "checkpoints", loop.keep, loop.keep_every),
        optimizer_(stage.trained, loop.adamw),
        rows_(rows_of_rank(loop.batch, loop.micro_batch, ranks_.rank(), ranks_.size())) {
    if (!stage.averaged.empty()) optimizer_.add_average(stage.averaged, loop.ema, loop.ema_ramp);
    if (context.launch.shard_optimizer) optimizer_.shard(ranks_);
    if (!alone()) buckets_ = std::make_unique<GradientBuckets>(ranks_, stage.trained, optimizer_.owners());
  }

  Outcome run() {
    // The first rank owns the folder; the others read what it leaves there.
    if (ranks_.first()) folder_ = std::make_unique<RunFolder>(path_, context_.launch.fresh, context_.log);
    resume();
    check_same_start(ranks_, alone() ? "" : to_toml(fields()), alone() ? "" : start_facts());
    if (step_ >= loop_.steps) {
      context_.log.info("{}: done ({} steps)", stage_.name, step_);
      return Outcome::finished;
    }
    if (folder_) begin_files();
    release_averages();
    try {
      const Outcome outcome = steps_or_lost();
      optimizer_.gather_averages(-1);
      synchronise(default_device());
      ranks_.check_alive();                      // else these averages are nobody's
      end_session(outcome == Outcome::finished ? exit_code::finished : exit_code::stopped_early);
      ranks_.barrier();                          // whoever goes on finds the last checkpoint
      return outcome;
    } catch (const DivergedError&) {
      end_session(exit_code::diverged);
      throw;
    } catch (const FileError&) {
      end_session(exit_code::unreadable);
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
    for (const std::string& difference : folder_->config_differences(fields()))
      if (step_ > 0 && concerns_stage(difference)) context_.log.warning("{}: config: {}", stage_.name, difference);
    if (step_ == 0) tell_start();
    folder_->write_config(fields());
    folder_->begin_session({.command_line = context_.command_line, .seed = static_cast<std::int64_t>(seed_ & 0x7fffffffffffffff),
                            .threads = omp_get_max_threads(), .ranks = ranks_.size(), .device = to_string(default_device()), .resumed_from = step_ > 0 ? step_ : -1});
    metrics_ = std::make_unique<Metrics>(folder_->path(), files_);
    metrics_->truncate_after(step_);
  }

  void end_session(int code) {
    if (folder_) folder_->end_session(code, step_);
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

  const std::vector<Field>& fields() const { return stage_.fields.empty() ? context_.fields : stage_.fields; }

  // "fm.loop.steps was 3, is 4" says nothing about the stage mfd, "dit.width ..." about all.
  bool concerns_stage(const std::string& difference) const {
    const std::string part = difference.substr(0, difference.find_first_of(". "));
    const std::string& own = stage_.part.empty() ? stage_.name : stage_.part;
    for (const char* other : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft", "evaluate", "log"})
      if (part == other) return part == own;
    return true;
  }

  void check_made_from(const Checkpoint& found) const {
    if (!found.state().contains("made_from")) return;
    const auto& before = found.state()["made_from"];
    for (const auto& [name, checksum] : stage_.made_from)
      if (before.contains(name) && before[name] != checksum)
        throw ConfigError(
            fmt::format("{}: {} was made from another {} (checksum {}, now {}); train it again with --fresh, or use another --out",
                        stage_.name, found.folder().string(), name, before[name].get<std::string>(), checksum));
  }

  void resume() {
    const std::string chosen = alone() ? choose_checkpoint() : gather_texts(ranks_, ranks_.first() ? choose_checkpoint() : "").front();
    if (!chosen.empty()) resume_from(Checkpoint(chosen));
    tell_remedy();
  }

  void tell_remedy() {
    if (alone()) return;
    context_.ranks.set_remedy(step_ > 0 ? fmt::format("; the last checkpoint is {}: start the same command again, on any number of ranks, to go on from it",
                                                      checkpoints_.path(step_).string())
                                        : fmt::format("; {} has no checkpoint yet: start the same command again", stage_.name));
  }

  // The folder of the checkpoint to go on from; empty: none.
  std::string choose_checkpoint() {
    if (context_.launch.resume == "never") {
      if (!checkpoints_.newest_first().empty())
        throw ConfigError(fmt::format("--resume never: {} holds checkpoints; --fresh moves them aside", checkpoints_.folder().string()));
      return "";
    }
    const auto warn = [&](const std::string& line) { context_.log.warning("{}", line); };
    const std::filesystem::path wanted = context_.launch.resume;
    if (wanted != "auto" && !std::filesystem::exists(wanted / "state.json"))
      throw FileError(
          fmt::format("--resume {}: no checkpoint there; those of this stage are in {}", wanted.string(), checkpoints_.folder().string()));
    const auto found =
        context_.launch.resume == "auto" ? open_newest(checkpoints_, warn) : std::optional<Checkpoint>(context_.launch.resume);
    return found ? found->folder().string() : "";
  }

  void resume_from(const Checkpoint& found) {
    check_made_from(found);
    restore(stage_.model, found.part("model"), "model");
    if (!stage_.ema.empty()) restore(stage_.ema, found.part("ema"), "ema");
    if (!stage_.state.empty()) restore(stage_.state, found.part("state"), "state");
    optimizer_.load_state(found.part("optimizer"));
    step_ = found.step();
    if (folder_) go_on_from(found);
  }

  void go_on_from(const Checkpoint& found) {
    for (std::int64_t step : checkpoints_.newest_first())
      if (step > step_)
        context_.log.warning("{}: the checkpoint of step {} is deleted: this run goes on from step {}", stage_.name, step, step_);
    checkpoints_.forget_after(step_);
    const auto stored = found.state().find("seed");
    if (stored != found.state().end() && *stored != seed_)
      context_.log.warning("{}: the run was begun with other random numbers (another seed or an older build); it goes on with this one's",
                           stage_.name);
    if (step_ < loop_.steps) context_.log.info("{}: going on from {} (step {})", stage_.name, found.folder().string(), step_);
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
    prepare_recording();
    first_step_ = step_;
    Progress progress(context_.log,
                      {.total_steps = loop_.steps, .done_steps = step_, .samples_per_step = loop_.batch, .log_every = loop_.log_every});
    while (step_ < loop_.steps) {
      StepNumbers numbers = traced_step();
      const bool logged = step_ % loop_.log_every == 0 || step_ == loop_.steps;
      const StepReport report = read(std::move(numbers), logged || step_ == first_step_ + 1);
      progress.step_done(step_, report);
      if (logged) log(report, progress.state());
      const bool last = step_ == loop_.steps, stop = !last && (alone() ? stop_requested() : !agreed_.stop.empty());
      const auto excluded = progress.exclude();
      if (last || stop || step_ % loop_.ckpt_every == 0 || (alone() ? take_save_request() : agreed_.save)) save();
      const std::int64_t every = loop_.sample_every;
      if (stage_.preview && ((last && every >= 0) || (every > 0 && step_ % every == 0))) preview();
      if (stop) {
        progress.finish();
        tell_waits();
        context_.log.info("{}: {} at step {}; saved, {} goes on from here", stage_.name, alone() ? stop_reason() : agreed_.stop, step_,
                          context_.launch.resume == "auto" ? "the same command" : "the same command without --fresh or --resume");
        return Outcome::stopped;
      }
    }
    tell_waits();
    return Outcome::finished;
  }

  // To samples/ and to TensorBoard. A stage that has nothing to draw with yet writes no file.
  void preview() {
    optimizer_.gather_averages(0);
    if (folder_) {
      const auto png = folder_->sample(step_);
      stage_.preview(step_, png);
      if (std::filesystem::exists(png)) metrics_->image(step_, "samples", png);
    }
    ranks_.barrier();                              // as after saving
    release_averages();
  }

  // The third step of this process, when the caches are warm and buckets in their order, is drawn where --trace says.
  StepNumbers traced_step() {
    const std::int64_t drawn = std::min<std::int64_t>(3, steps_here_ + loop_.steps - step_);
    if (context_.launch.trace.empty() || !folder_ || ++steps_here_ != drawn) return one_step();
    Trace trace;
    trace_ = &trace;
    ranks_.observe([&](const Communicator::Span& s) {
      trace.span(Trace::Row::communicate, fmt::format("{} {:.2f} MiB", s.op, static_cast<double>(s.bytes) / (1 << 20)), s.begin, s.end);
    });
    StepNumbers numbers = one_step();
    ranks_.observe({});
    trace_ = nullptr;
    trace.write(context_.launch.trace, ranks_.rank());
    context_.log.info("{}: step {} is drawn in {}", stage_.name, step_, context_.launch.trace);
    return numbers;
  }

  StepNumbers one_step() {
    const std::int64_t waits = host_waits(default_device());
    StepNumbers told = recorded_ ? recorded_->run(part_of(0), learning_rate(loop_.rate, step_)) : plain_step();
    ++step_;
    if (stage_.after_step) stage_.after_step(step_);
    told.send();
    if (step_ > first_step_ + 1) waits_ += host_waits(default_device()) - waits;   // the first one may have data to prepare
    return told;
  }

  StepNumbers plain_step() {
    Gradients total;
    StepNumbers told{.step = step_ + 1};
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const double share = static_cast<double>(rows_[i].count) / static_cast<double>(loop_.batch);
      Tape tape;
      const StepLoss part = forward(i);
      Late loss = part.loss.value();
      if (!alone()) loss = double(loss);                     // before collectives are under way, which a lost rank would not end
      else if (loss.known()) check_finite(loss, step_ + 1);
      told.parts.push_back({loss, share, part.metrics});
      const Var weighted = share == 1 ? part.loss : part.loss * share;
      if (buckets_ && i + 1 == rows_.size()) {
        total = summed_over_ranks(weighted, i > 0 ? &total : nullptr);
        continue;
      }
      const Trace::Scope scope(trace_, "backward");
      Gradients g = backward(weighted);
      if (i == 0) total = std::move(g);
      else accumulate(total, std::move(g));
    }
    if (!alone()) {
      agreed_ = agree(ranks_, told.loss());
      check_finite(agreed_.loss, step_ + 1);
    }
    const Trace::Scope scope(trace_, "optimiser");
    told.lr = learning_rate(loop_.rate, step_);
    StepStats stats = optimizer_.step(total, {.lr = told.lr});
    told.gradient_norm = stats.gradient_norm, told.squares = stats.squares;
    return told;
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
    if (alone()) check_finite(report.loss, numbers.step);
    if (!std::isfinite(report.grad_norm)) {
      const std::string first = numbers.squares.defined() ? optimizer_.first_not_finite(numbers.squares) : "";
      throw DivergedError(fmt::format("{}: the norm of the gradients is {} at step {}{}; the last checkpoint is intact (lower rate.peak, or resume with another seed)",
                                      stage_.name, report.grad_norm, numbers.step, first.empty() ? "" : ", that of " + first + " first"));
    }
    if (with_metrics) metrics_now_ = numbers.metrics();
    return {alone() ? report.loss : agreed_.loss, report.grad_norm, report.lr};
  }

  StepPart part_of(std::size_t part) const {
    const RowRange& rows = rows_[part];
    const bool last = part + 1 == rows_.size();
    return {step_, rows.first, rows.count, (step_ + last) * loop_.batch + rows_[last ? 0 : part + 1].first};
  }

  StepLoss forward(std::size_t part) const {
    const Trace::Scope scope(trace_, "forward");
    return stage_.loss(part_of(part));
  }

  // Said aloud where a step is not recorded though it was asked for.
  void prepare_recording() {
    if (!context_.launch.cuda_graph) return;
    if (!default_device().is_cuda() || !alone()) throw ConfigError("--cuda-graph: is for one rank and --device cuda; leave it out");
    const std::string why = !stage_.not_recorded.empty() ? stage_.not_recorded
                            : !stage_.inputs             ? "only fm, cmt, mfd and mft are"
                            : rows_.size() > 1           ? "a batch in parts is several steps' work: leave micro_batch out"
                                                         : "";
    if (why.empty()) recorded_ = std::make_unique<RecordedStep>(stage_, optimizer_);
    else context_.log.warning("{}: --cuda-graph: steps are not recorded: {}", stage_.name, why);
  }

  void tell_waits() const {
    if (default_device().is_cuda())
      context_.log.info("{}: the host waited for {} {} times inside of {} steps after the first", stage_.name, to_string(default_device()), waits_,
                         step_ - first_step_ - 1);
  }

  // Gradients are on their way while the pass goes on; what is left of that is waited for.
  Gradients summed_over_ranks(const Var& loss, Gradients* earlier) {
    buckets_->begin(earlier);
    Gradients g = [&] {
      const Trace::Scope scope(trace_, "backward");
      return backward(loss, buckets_->hook());
    }();
    const Trace::Scope scope(trace_, "wait for gradients");
    buckets_->finish(g);
    return g;
  }

  void check_finite(double loss, std::int64_t step) const {
    if (!std::isfinite(loss))
      throw DivergedError(
          fmt::format("{}: the loss is {} at step {}; the last checkpoint is intact (lower rate.peak, or resume with another seed)",
                      stage_.name, loss, step));
  }

  void log(const StepReport& report, const ProgressState& state) {
    metrics_now_ = metrics_of_all(ranks_, metrics_now_);
    if (!metrics_) return;
    std::vector<Metric> row{{"loss", report.loss}, {"grad_norm", report.grad_norm}, {"lr", report.lr}};
    for (const StepMetric& m : metrics_now_) row.push_back({m.name, m.value});
    row.push_back({"samples_per_second", state.samples_per_second});
    row.push_back({"memory_mib", static_cast<double>(state.memory_bytes) / (1 << 20)});
    row.push_back({"tensor_peak_mib", static_cast<double>(memory_stats().peak) / (1 << 20)});
    metrics_->log(step_, row);
  }

  void save() {
    read_late();                                   // what diverged is not saved
    synchronise(default_device());
    ranks_.check_alive();
    std::vector<CheckpointPart> parts{{"model", stage_.model}, {"optimizer", optimizer_.state()}};
    if (!stage_.ema.empty()) parts.push_back({"ema", stage_.ema});
    if (!stage_.state.empty()) parts.push_back({"state", stage_.state});
    nlohmann::ordered_json state;
    state["stage"] = stage_.name;
    state["seed"] = seed_;
    state["config"] = fields_to_json(fields());
    for (const auto& [name, checksum] : stage_.made_from) state["made_from"][name] = checksum;
    save_from_owners(ranks_, checkpoints_, step_, std::move(parts), state, [&](const std::string& part, const std::string& name) {
      return part == "optimizer" || part == "ema" ? optimizer_.owner_of(name) : -1;
    });
    if (ranks_.first()) tell_remedy();             // the others have this checkpoint when the first one has written it
    if (folder_ && files_.html) write_training_report(*folder_, stage_.name);
    ranks_.barrier();                              // before work on the GPU, whose deadline is not for the first rank's writing
    if (!ranks_.first()) tell_remedy();
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
  LogFiles files_;
  Context& context_;
  Communicator& ranks_;
  std::filesystem::path path_;
  std::unique_ptr<RunFolder> folder_;              // of the first rank
  CheckpointFolder checkpoints_;
  AdamW optimizer_;
  std::vector<RowRange> rows_;                     // of each batch, this rank's
  std::unique_ptr<GradientBuckets> buckets_;       // null: alone
  Agreed agreed_;
  Trace* trace_ = nullptr;
  std::int64_t steps_here_ = 0;
  std::unique_ptr<Metrics> metrics_;
  std::vector<StepMetric> metrics_now_;            // of the last step that was read with its metrics
  std::unique_ptr<RecordedStep> recorded_;         // --cuda-graph
  std::int64_t waits_ = 0, first_step_ = 0;        // waits for the GPU inside of steps; where this process began
  std::optional<StepNumbers> late_;                // of the step before, on a GPU
  StepReport report_;
  std::int64_t step_ = 0;
};

}  // namespace

Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, Context& context) {
  check(loop.rate);
  return TrainLoop(stage, loop, seed, files, context).run();
}

}  // namespace fm
