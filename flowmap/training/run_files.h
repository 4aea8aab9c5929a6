// Writes the files of a training beside its checkpoints, in the same folder out/<stage>: metrics.csv and similar files (data/report/metrics.h), samples/step-*.png,
// report.html, and config.toml if the stage has fields. Messages and a line for each logged step go to stderr.
//
//   RunFiles files;
//   train(stage, loop, seed, {.out = "runs/a"}, ranks, files);
//
// With several ranks the first one writes. Once steps are made, an unwritable file (a full disk) is a warning, given once for each kind of file, and the training continues.
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
  // Calls stage.preview. Returns whether it did: false where the samples of this step are given up. A stage that cannot sample yet writes no file.
  virtual bool make_preview(std::int64_t step, const std::filesystem::path& png);

  void take(const TrainingSetup& setup);                  // the training whose files these are: in opening()
  void open_metrics(std::int64_t step);                   // without rows after `step`; FileError
  void attempt(const char* what, const std::function<void()>& write);

  bool writes() const { return writes_; }
  const Stage& stage() const { return *stage_; }
  const LoopConfig& loop() const { return *loop_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  bool lacks_preview(std::int64_t step) const;

  std::filesystem::path folder_;
  LogFiles which_;
  bool writes_ = false;                                   // on this rank
  const Stage* stage_ = nullptr;
  const LoopConfig* loop_ = nullptr;
  std::optional<FolderLock> lock_;
  std::unique_ptr<Metrics> metrics_;
  std::set<std::string> failed_;                          // kinds of files that were warned of
};

}  // namespace fm
