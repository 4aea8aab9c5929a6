// Receives the reports of a running training, and answers whether to stop or to save. By default every function does nothing. All are called on the
// training thread of every rank. If several ranks share a folder, only one of them should write to it.
//
//   opening                                            before the folder is read
//   found_done, completing, preview, saved, ended      if an earlier process made all steps; the calls after found_done only if final files are missing
//   started                                            otherwise: the first step comes next
//     steps_begin                                      and again after each rewind
//       step_done, row                                 row: only for logged steps
//       aside_begins, saved, preview, aside_ends
//       stop_reason, save_requested, stopped
//     steps_end, rewound
//   ended or failed
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace fm {

struct TrainingSetup;                    // nn/training/loop.h: the arguments of train()

enum class Outcome { finished, stopped };

struct StepReport {
  double loss = 0;
  double grad_norm = -1;                 // below 0: unknown
  double lr = -1;                        // below 0: unknown
};

// Names and numbers of one step, in the order of their columns.
using LoopNumbers = std::vector<std::pair<std::string, double>>;

class LoopObserver {
 public:
  virtual ~LoopObserver() = default;

  virtual void message(const std::string& line) { (void)line; }
  virtual void warning(const std::string& line) { (void)line; }

  // Called before the stage's folder is read. May create the folder, lock it against other processes, or refuse the training by an exception. The
  // parts of `setup` live until train() returns.
  virtual void opening(const TrainingSetup& setup) { (void)setup; }

  // Training begins after `step` earlier steps (0: none). An exception ends the training.
  virtual void started(std::int64_t step) { (void)step; }

  // An earlier process made all steps. Returns true if its final files (samples, a report) are missing. If any rank returns true, completing(),
  // preview(), saved() and ended() follow on all ranks.
  virtual bool found_done(std::int64_t step) { return (void)step, false; }
  virtual void completing(std::int64_t step) { (void)step; }

  virtual void steps_begin(std::int64_t step) { (void)step; }
  virtual void steps_end() noexcept {}

  // Called after each step, counted from 1. On a GPU the numbers of a step that is not logged may be those of the previous step.
  virtual void step_done(std::int64_t step, const StepReport& report) { (void)step, (void)report; }
  // The numbers of a logged step: loss, grad_norm, lr, grad_norm_max (the largest gradient norm since the previous row), the stage's metrics (means over
  // all ranks), and the number of explosions if there were any.
  virtual void row(std::int64_t step, const LoopNumbers& numbers) { (void)step, (void)numbers; }

  // Between these two calls the training saves or makes a preview: this time belongs to no step.
  virtual void aside_begins() {}
  virtual void aside_ends() noexcept {}

  // The checkpoint of `step` is written.
  virtual void saved(std::int64_t step) { (void)step; }
  // The averaged weights are those of `step`, and a preview is due (Stage::preview).
  virtual void preview(std::int64_t step) { (void)step; }
  // Training continues from this earlier step: reports of later steps are no longer valid.
  virtual void rewound(std::int64_t step) { (void)step; }

  // Called after each step. Returns the reason to stop, such as "SIGTERM", or an empty text to continue. All ranks then save the step and end.
  virtual std::string stop_reason() { return {}; }
  // Called after each step. Returns true, once per request, to save a checkpoint now.
  virtual bool save_requested() { return false; }

  // The training stopped and was saved at this step. `reason` is from one of the ranks.
  virtual void stopped(std::int64_t step, const std::string& reason) { (void)step, (void)reason; }

  // The last call: the training then returns, or throws `error` (a DivergedError with advice added).
  virtual void ended(std::int64_t step, Outcome outcome) { (void)step, (void)outcome; }
  virtual void failed(std::int64_t step, const std::exception& error) { (void)step, (void)error; }
};

}  // namespace fm
