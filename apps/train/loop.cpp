#include "apps/train/loop.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/support/progress.h"
#include "apps/support/run_folder.h"
#include "apps/support/signals.h"
#include "apps/support/training_report.h"
#include "autodiff/rules/elementwise.h"
#include "nn/checkpoint.h"
#include "nn/config/json.h"
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
        folder_(std::filesystem::path(context.launch.out) / stage.name, context.launch.fresh, context.log),
        checkpoints_(folder_.checkpoints(), loop.keep, loop.keep_every),
        optimizer_(stage.trained, loop.adamw) {
    if (!stage.averaged.empty()) optimizer_.add_average(stage.averaged, loop.ema, loop.ema_ramp);
  }

  Outcome run() {
    resume();
    for (const std::string& difference : folder_.config_differences(fields()))
      if (step_ > 0 && concerns_stage(difference)) context_.log.warning("{}: config: {}", stage_.name, difference);
    if (step_ >= loop_.steps) {
      context_.log.info("{}: done ({} steps)", stage_.name, step_);
      return Outcome::finished;
    }
    if (step_ == 0) tell_start();
    folder_.write_config(fields());
    folder_.begin_session({.command_line = context_.command_line, .seed = static_cast<std::int64_t>(seed_ & 0x7fffffffffffffff),
                           .threads = omp_get_max_threads(), .device = to_string(default_device()), .resumed_from = step_ > 0 ? step_ : -1});
    metrics_ = std::make_unique<Metrics>(folder_.path(), files_);
    metrics_->truncate_after(step_);
    try {
      const Outcome outcome = steps();
      folder_.end_session(outcome == Outcome::finished ? exit_code::finished : exit_code::stopped_early, step_);
      return outcome;
    } catch (const DivergedError&) {
      folder_.end_session(exit_code::diverged, step_);
      throw;
    } catch (const FileError&) {
      folder_.end_session(exit_code::unreadable, step_);
      throw;
    } catch (...) {
      folder_.end_session(exit_code::failed, step_);
      throw;
    }
  }

 private:
  void tell_start() const {
    const Launch& launch = context_.launch;
    const std::string from =
        launch.init_from.empty() ? "" : fmt::format(", weights from {}{}", launch.init_from, launch.init_from_ema ? ":ema" : "");
    context_.log.info("{}: {} steps of {}{}, into {}", stage_.name, loop_.steps, loop_.batch, from, folder_.path().string());
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
    if (context_.launch.resume == "never") {
      if (!checkpoints_.newest_first().empty())
        throw ConfigError(fmt::format("--resume never: {} holds checkpoints; --fresh moves them aside", checkpoints_.folder().string()));
      return;
    }
    const auto warn = [&](const std::string& line) { context_.log.warning("{}", line); };
    const std::filesystem::path wanted = context_.launch.resume;
    if (wanted != "auto" && !std::filesystem::exists(wanted / "state.json"))
      throw FileError(
          fmt::format("--resume {}: no checkpoint there; those of this stage are in {}", wanted.string(), checkpoints_.folder().string()));
    const auto found =
        context_.launch.resume == "auto" ? open_newest(checkpoints_, warn) : std::optional<Checkpoint>(context_.launch.resume);
    if (!found) return;
    check_made_from(*found);
    restore(stage_.model, found->part("model"), "model");
    if (!stage_.ema.empty()) restore(stage_.ema, found->part("ema"), "ema");
    if (!stage_.state.empty()) restore(stage_.state, found->part("state"), "state");
    optimizer_.load_state(found->part("optimizer"));
    step_ = found->step();
    for (std::int64_t step : checkpoints_.newest_first())
      if (step > step_)
        context_.log.warning("{}: the checkpoint of step {} is deleted: this run goes on from step {}", stage_.name, step, step_);
    checkpoints_.forget_after(step_);
    const auto stored = found->state().find("seed");
    if (stored != found->state().end() && *stored != seed_)
      context_.log.warning("{}: the run was begun with other random numbers (another seed or an older build); it goes on with this one's",
                           stage_.name);
    if (step_ < loop_.steps) context_.log.info("{}: going on from {} (step {})", stage_.name, found->folder().string(), step_);
  }

  Outcome steps() {
    Progress progress(context_.log,
                      {.total_steps = loop_.steps, .done_steps = step_, .samples_per_step = loop_.batch, .log_every = loop_.log_every});
    while (step_ < loop_.steps) {
      const StepReport report = one_step();
      progress.step_done(step_, report);
      if (step_ % loop_.log_every == 0 || step_ == loop_.steps) log(report, progress.state());
      const bool last = step_ == loop_.steps, stop = !last && stop_requested();
      const auto excluded = progress.exclude();
      if (last || stop || step_ % loop_.ckpt_every == 0 || take_save_request()) save();
      const std::int64_t every = loop_.sample_every;
      if (stage_.preview && ((last && every >= 0) || (every > 0 && step_ % every == 0))) preview();
      if (stop) {
        progress.finish();
        context_.log.info("{}: {} at step {}; saved, {} goes on from here", stage_.name, stop_reason(), step_,
                          context_.launch.resume == "auto" ? "the same command" : "the same command without --fresh or --resume");
        return Outcome::stopped;
      }
    }
    return Outcome::finished;
  }

  // To samples/ and to TensorBoard. A stage that has nothing to draw with yet writes no file.
  void preview() {
    const auto png = folder_.sample(step_);
    stage_.preview(step_, png);
    if (std::filesystem::exists(png)) metrics_->image(step_, "samples", png);
  }

  StepReport one_step() {
    const std::int64_t micro = loop_.micro_batch > 0 ? std::min(loop_.micro_batch, loop_.batch) : loop_.batch;
    Gradients total;
    double loss = 0;
    metrics_now_.clear();
    for (std::int64_t first = 0; first < loop_.batch; first += micro) {
      const std::int64_t count = std::min(micro, loop_.batch - first);
      const double share = static_cast<double>(count) / static_cast<double>(loop_.batch);
      Tape tape;
      const StepLoss part = stage_.loss({step_, first, count});
      const double value = part.loss.value().item();
      if (!std::isfinite(value))
        throw DivergedError(
            fmt::format("{}: the loss is {} at step {}; the last checkpoint is intact (lower rate.peak, or resume with another seed)",
                        stage_.name, value, step_ + 1));
      loss += share * value;
      add_metrics(part.metrics, share);
      Gradients g = backward(share == 1 ? part.loss : part.loss * share);
      if (first == 0) total = std::move(g);
      else accumulate(total, std::move(g));
    }
    const double lr = learning_rate(loop_.rate, step_);
    const StepStats stats = optimizer_.step(total, {.lr = lr});
    ++step_;
    if (stage_.after_step) stage_.after_step(step_);
    return {loss, stats.gradient_norm, lr};
  }

  void add_metrics(const std::vector<StepMetric>& metrics, double share) {
    for (const StepMetric& m : metrics) {
      auto it = std::find_if(metrics_now_.begin(), metrics_now_.end(), [&](const StepMetric& known) { return known.name == m.name; });
      if (it == metrics_now_.end()) it = metrics_now_.insert(it, {m.name, 0, 0});
      const double weight = share * m.weight;
      it->weight += weight;
      if (it->weight > 0) it->value += (m.value - it->value) * weight / it->weight;
    }
  }

  void log(const StepReport& report, const ProgressState& state) {
    std::vector<Metric> row{{"loss", report.loss}, {"grad_norm", report.grad_norm}, {"lr", report.lr}};
    for (const StepMetric& m : metrics_now_) row.push_back({m.name, m.value});
    row.push_back({"samples_per_second", state.samples_per_second});
    row.push_back({"memory_mib", static_cast<double>(state.memory_bytes) / (1 << 20)});
    row.push_back({"tensor_peak_mib", static_cast<double>(memory_stats().peak) / (1 << 20)});
    metrics_->log(step_, row);
  }

  void save() {
    std::vector<CheckpointPart> parts{{"model", stage_.model}, {"optimizer", optimizer_.state()}};
    if (!stage_.ema.empty()) parts.push_back({"ema", stage_.ema});
    if (!stage_.state.empty()) parts.push_back({"state", stage_.state});
    nlohmann::ordered_json state;
    state["stage"] = stage_.name;
    state["seed"] = seed_;
    state["config"] = fields_to_json(fields());
    for (const auto& [name, checksum] : stage_.made_from) state["made_from"][name] = checksum;
    save_checkpoint(checkpoints_, step_, parts, state);
    if (files_.html) write_training_report(folder_, stage_.name);
  }

  Stage& stage_;
  const LoopConfig& loop_;
  std::uint64_t seed_;
  LogFiles files_;
  Context& context_;
  RunFolder folder_;
  CheckpointFolder checkpoints_;
  AdamW optimizer_;
  std::unique_ptr<Metrics> metrics_;
  std::vector<StepMetric> metrics_now_;
  std::int64_t step_ = 0;
};

}  // namespace

Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, Context& context) {
  check(loop.rate);
  return TrainLoop(stage, loop, seed, files, context).run();
}

}  // namespace fm
