// Writes the files of a training beside its checkpoints, in the same folder out/<stage>: metrics.csv and similar files (data/report/metrics.h), samples/step-*.png,
// report.html, and config.toml if the stage has fields. Messages and a line for each logged step go to stderr.
//
//   RunFiles files;
//   train(stage, loop, seed, {.out = "runs/a"}, ranks, files);
//
// With several ranks only the first one writes. After the first step, a file that cannot be written (a full disk) causes a warning, once for each kind of
// file, and the training continues.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "data/report/metrics.h"
#include "nn/training/loop.h"
#include "tensor/io/folder_lock.h"

namespace fm {

class RunFiles : public LoopObserver {
 public:
  explicit RunFiles(LogFiles which = {}) : which_(which) {}

  void message(const std::string& line) override;
  void warning(const std::string& line) override;
  // Creates the folder and locks it against a second process. FileError, ConfigError.
  void opening(const TrainingSetup& setup) override;
  void started(std::int64_t step) override;              // FileError
  bool found_done(std::int64_t step) override;
  void completing(std::int64_t step) override;           // FileError
  void step_done(std::int64_t step, const StepReport& report) override;
  void row(std::int64_t step, const LoopNumbers& numbers) override;
  void saved(std::int64_t step) override;
  void preview(std::int64_t step) override;
  void rewound(std::int64_t step) override;

 protected:
  // Calls stage.preview and returns true. An override returns false if it gives up the samples of this step. A stage that cannot sample yet writes no file.
  virtual bool make_preview(std::int64_t step, const std::filesystem::path& png);

  void take(const TrainingSetup& setup);                  // sets the training whose files these are; called by opening()
  void open_metrics(std::int64_t step);                   // opens metrics and deletes rows after `step`; FileError
  void attempt(const char* what, const std::function<void()>& write);

  bool writes() const { return writes_; }
  const Stage& stage() const { return *stage_; }
  const LoopConfig& loop() const { return *loop_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  bool lacks_preview(std::int64_t step) const;

  std::filesystem::path folder_;
  LogFiles which_;
  bool writes_ = false;                                   // whether this rank writes files
  const Stage* stage_ = nullptr;
  const LoopConfig* loop_ = nullptr;
  std::optional<FolderLock> lock_;
  std::unique_ptr<Metrics> metrics_;
  std::set<std::string> failed_;                          // kinds of files for which a warning was given
};

}  // namespace fm
