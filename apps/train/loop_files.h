// What a training leaves beside its checkpoints: config.toml, run.json, metrics, sample grids, report.html. Only begin() throws: once steps are
// being made, a file that cannot be written (a full disk) is a warning, said once for each kind of file, and the training goes on.
#pragma once

#include <set>

#include "apps/support/metrics.h"
#include "apps/support/run_folder.h"
#include "apps/train/loop.h"

namespace fm {

class LoopFiles {
 public:
  // Takes the stage's folder (RunFolder). The stage and the context must outlive it.
  LoopFiles(const Stage& stage, const LoopConfig& loop, LogFiles which, Context& context);

  // Before the first step of this process: the config, a session in run.json, metrics without what came after `step`. FileError.
  void begin(std::uint64_t seed, std::int64_t step);
  // A session for a stage that is done, whose config.toml stays.
  void begin_again(std::uint64_t seed, std::int64_t step);

  // Metrics without what came after `step`.
  void rewind(std::int64_t step);

  void log(std::int64_t step, const std::vector<Metric>& row);
  void preview(std::int64_t step);     // to samples/ and to TensorBoard; a stage that has nothing to draw with yet writes no file
  void report();                       // report.html, where it is wanted
  void end(int exit_code, std::int64_t step);

  // Whether a stage that made all its steps was ended before it had written all of this.
  bool lacks_something(std::int64_t step) const;

  // Where the config is not that of the session before, as warnings that end with `remedy`.
  void tell_differences(const char* remedy) const;

 private:
  bool concerns_stage(const std::string& difference) const;
  bool lacks_preview(std::int64_t step) const;
  template <class F> void attempt(const char* what, const F& write);

  const Stage& stage_;
  const LoopConfig& loop_;
  LogFiles which_;
  Context& context_;
  RunFolder folder_;
  std::unique_ptr<Metrics> metrics_;
  std::set<std::string> failed_;       // kinds of files that were warned of
};

}  // namespace fm
