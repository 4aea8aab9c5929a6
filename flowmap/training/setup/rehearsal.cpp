#include "flowmap/training/setup/rehearsal.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numeric>
#include <utility>

#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/run_files.h"
#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/memory/machine_memory.h"

namespace fm {
namespace {

// warm_up: number of first steps that the mean time leaves out, because they fill caches and start threads.
constexpr std::int64_t warm_up = 2, first_steps = 4, longest_rehearsal = 60;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Writes the files of a training without messages, and measures the time of each step.
class StepClock : public RunFiles {
 public:
  using RunFiles::RunFiles;
  void message(const std::string&) override {}
  void warning(const std::string&) override {}
  void steps_begin(std::int64_t step) override { RunFiles::steps_begin(step), last_ = now(); }
  void step_done(std::int64_t step, const StepReport& report) override {
    RunFiles::step_done(step, report);
    seconds.push_back(now() - last_);
    memory = std::max(memory, resident_bytes());
    last_ = now();
  }
  void aside_ends() noexcept override { RunFiles::aside_ends(), last_ = now(); }

  std::vector<double> seconds;
  std::int64_t memory = 0;

 private:
  double last_ = 0;
};

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double mean_after_warm_up(const std::vector<double>& seconds) {
  const auto first = seconds.begin() + std::min(std::ssize(seconds) - 1, std::ptrdiff_t{warm_up});
  return std::accumulate(first, seconds.end(), 0.0) / static_cast<double>(seconds.end() - first);
}

class QuietMessages : public Messages {
 public:
  explicit QuietMessages(Messages& to) : to_(to) {}
  void message(Level level, std::string_view text) override {
    if (level == Level::error) to_.message(level, text);
  }
  void status(std::string_view line) override { to_.status(line); }
  void end_status() override { to_.end_status(); }

 private:
  Messages& to_;
};

class FolderOfRehearsal {
 public:
  explicit FolderOfRehearsal(const std::filesystem::path& path) : path_(path) {
    if (std::filesystem::exists(path)) throw ConfigError(fmt::format("{} exists, left by an init that was killed: remove it", path.string()));
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) throw FileError(fmt::format("{}: cannot create the folder: {}", path.string(), error.message()));
  }
  ~FolderOfRehearsal() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FolderOfRehearsal(const FolderOfRehearsal&) = delete;
  FolderOfRehearsal& operator=(const FolderOfRehearsal&) = delete;

 private:
  std::filesystem::path path_;
};

class RehearsedRun {
 public:
  RehearsedRun(const Recipe& recipe, const std::filesystem::path& folder, double seconds, Messages& log, Ranks& ranks)
      : recipe_(recipe), folder_(folder), seconds_(seconds), quiet_(log), options_{.config_file = "init", .out = folder.string()}, start_(now()), run_(recipe_, context(ranks)) {
    out_.samples = run_.count_images();
    out_.data = now() - start_;
    run_.preflight();
  }

  // Returns nothing if `worth` ends the rehearsal.
  std::optional<Rehearsal> go(const std::function<bool(const StageTime&)>& worth) {
    for (const StageSpec& stage : stage_table()) {
      if (!stage.in_pipeline(recipe_)) continue;
      out_.stages.push_back(timed(stage));
      release_cached_memory();
      release_cached_memory(Device{});
      if (!worth(out_.stages.back())) return std::nullopt;
    }
    evaluate();
    return out_;
  }

 private:
  RunContext context(Ranks& ranks) {
    RunContext c{.launch = options_, .log = quiet_, .ranks = ranks};
    c.progress = [this](const std::string&, std::int64_t total) -> std::function<void(std::int64_t)> {
      return [this, total, start = now()](std::int64_t done) {
        if (done == total) encoding_ += now() - start;
      };
    };
    c.train = [this, &ranks](Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files) { return train_some(stage, loop, seed, files, ranks); };
    return c;
  }

  // Makes some steps, and then as many more as a measurement takes. Low learning rates prevent divergence, and do not affect the time.
  Outcome train_some(Stage& stage, LoopConfig loop, std::uint64_t seed, LogFiles files, Ranks& ranks) {
    const double start = now(), processor = processor_seconds();
    loop.rate = {.peak = 0.1 * loop.rate.peak};
    loop.log_every = loop.ckpt_every = longest_rehearsal;
    const TrainOptions options{.out = folder_, .fields = list_fields(recipe_)};
    StepClock clock(files);
    const std::int64_t previews = loop.sample_every;
    loop.steps = first_steps, loop.sample_every = -1;
    train(stage, loop, seed, options, *ranks, clock);
    const double step = mean_after_warm_up(clock.seconds);
    loop.steps = first_steps + std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(seconds_ / step)), 2, longest_rehearsal), loop.sample_every = previews;
    std::vector<double> first = std::exchange(clock.seconds, {});
    const Outcome outcome = train(stage, loop, seed, options, *ranks, clock);
    spent_in_steps_ = std::accumulate(first.begin(), first.end(), 0.0) + std::accumulate(clock.seconds.begin(), clock.seconds.end(), 0.0);
    clock.seconds.erase(clock.seconds.begin());                       // the first step after the pause between the two trainings
    step_ = std::accumulate(clock.seconds.begin(), clock.seconds.end(), 0.0) / static_cast<double>(clock.seconds.size());
    out_.memory = std::max(out_.memory, clock.memory);
    trained_ += now() - start, processor_ += processor_seconds() - processor;
    out_.processor = processor_ / trained_;
    return outcome;
  }

  StageTime timed(const StageSpec& stage) {
    const double start = now(), encoding = encoding_;
    stage.run(run_, stage);
    const double encoded = encoding_ - encoding;
    out_.data += encoded;
    return {stage.name, step_, std::max(0.0, now() - start - encoded - spent_in_steps_)};
  }

  void evaluate() {
    const double start = now();
    double generating = 0;
    for (const Score& s : evaluate_run(run_, {}, [](const Score&) {})) {
      out_.sample += s.ms_per_image / 1000;
      generating += s.ms_per_image / 1000 * static_cast<double>(s.samples);
    }
    out_.evaluation = std::max(0.0, now() - start - generating);
    out_.memory = std::max(out_.memory, resident_bytes());
  }

  Recipe recipe_;
  std::filesystem::path folder_;
  double seconds_;
  QuietMessages quiet_;
  RunOptions options_;
  Rehearsal out_;
  double start_, encoding_ = 0, step_ = 0, spent_in_steps_ = 0, trained_ = 0, processor_ = 0;
  TrainingRun run_;
};

}  // namespace

const StageTime& Rehearsal::of(const std::string& stage) const {
  const auto found = std::find_if(stages.begin(), stages.end(), [&](const StageTime& t) { return t.stage == stage; });
  if (found == stages.end()) throw Error(fmt::format("the rehearsal has no stage {}", stage));
  return *found;
}

std::optional<Rehearsal> rehearse(const Recipe& recipe, const std::filesystem::path& folder, double seconds, Messages& log, Ranks& ranks,
                                  const std::function<bool(const StageTime&)>& worth) {
  const FolderOfRehearsal removed(folder);
  release_cached_memory();
  return RehearsedRun(recipe, folder, seconds, log, ranks).go(worth);
}

}  // namespace fm
