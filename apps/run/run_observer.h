// The programs' additions to a training: config.toml, run.json, the status line, signals, exit codes, and the files of RunFiles. Only the first rank
// writes files.
#pragma once

#include <optional>

#include "apps/cli/program.h"
#include "apps/cli/progress.h"
#include "apps/run/run_folder.h"
#include "flowmap/training/run_files.h"

namespace fm {

// TrainOptions from the flags of the command line.
TrainOptions train_options(const Context& context);

class RunObserver : public RunFiles {
 public:
  RunObserver(LogFiles which, Context& context) : RunFiles(which), context_(context) {}     // the context must outlive it

  void message(const std::string& line) override;
  void warning(const std::string& line) override;
  void opening(const TrainingSetup& setup) override;      // opens the RunFolder
  void started(std::int64_t step) override;
  bool found_done(std::int64_t step) override;
  void completing(std::int64_t step) override;
  void steps_begin(std::int64_t step) override;
  void steps_end() noexcept override;
  void step_done(std::int64_t step, const StepReport& report) override;
  void row(std::int64_t step, const LoopNumbers& numbers) override;
  void aside_begins() override;
  void aside_ends() noexcept override;
  std::string stop_reason() override;
  bool save_requested() override;
  void stopped(std::int64_t step, const std::string& reason) override;
  void ended(std::int64_t step, Outcome outcome) override;
  void failed(std::int64_t step, const std::exception& error) override;

 protected:
  bool make_preview(std::int64_t step, const std::filesystem::path& png) override;

 private:
  void tell_start() const;
  // Warns about each difference between the config and the previous session's. The warnings end with `remedy`.
  void tell_differences(const char* remedy) const;
  bool concerns_stage(const std::string& difference) const;
  void begin_session(std::int64_t step);
  void end_session(int exit_code, std::int64_t step);

  Context& context_;
  std::uint64_t seed_ = 0;
  std::vector<Field> fields_;                      // the config, for config.toml
  std::optional<RunFolder> run_;                   // on the first rank only
  std::optional<Progress> progress_;               // while training steps run
  std::optional<Progress::Excluded> aside_;
};

// The RunContext of a command's run (flowmap/training/chain/training_run.h); `context` must outlive it. It has the status line and signals, and
// stages train with a RunObserver.
RunContext run_context(Context& context);

}  // namespace fm
