// The reports of a running training, and its requests. Every function does nothing by default. All are called on the thread that
// trains and on every rank of it; if several ranks share a folder only one of them should write there.
//
//   opening                                            before the folder is read
//   found_done, completing, preview, saved, ended      if all steps were made before, and final files are missing
//   started                                            otherwise: the first step comes next
//     steps_begin                                      and again after each rewind
//       step_done, row                                 row: for steps that are logged
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
  double grad_norm = -1;                 // below 0: not known
  double lr = -1;                        // below 0: not known
};

// Names and numbers of one step, in the order of their columns.
using LoopNumbers = std::vector<std::pair<std::string, double>>;

class LoopObserver {
 public:
  virtual ~LoopObserver() = default;

  virtual void message(const std::string& line) { (void)line; }
  virtual void warning(const std::string& line) { (void)line; }

  // The folder of the stage will be read and written. May create it, lock it against others, or refuse by an exception. The parts of `setup` live
  // until train() returns.
  virtual void opening(const TrainingSetup& setup) { (void)setup; }

  // `step` steps are done (0: none), and the next one follows. An exception ends the training.
  virtual void started(std::int64_t step) { (void)step; }

  // An earlier process made all steps. Returns whether its final files are missing (samples, a report). If any rank says yes, completing(),
  // preview(), saved() and ended() follow on all.
  virtual bool found_done(std::int64_t step) { return (void)step, false; }
  virtual void completing(std::int64_t step) { (void)step; }

  virtual void steps_begin(std::int64_t step) { (void)step; }
  virtual void steps_end() noexcept {}

  // After each step, counted from 1. On a GPU the numbers may be those of the previous step, until one is logged.
  virtual void step_done(std::int64_t step, const StepReport& report) { (void)step, (void)report; }
  // The numbers of a logged step: loss, grad_norm, lr, the largest norm of the gradients in the steps since the previous row (grad_norm_max), the
  // stage's metrics (means over all ranks), and explosions if there were any.
  virtual void row(std::int64_t step, const LoopNumbers& numbers) { (void)step, (void)numbers; }

  // Between them the training saves or makes a preview: time that belongs to no step.
  virtual void aside_begins() {}
  virtual void aside_ends() noexcept {}

  // The checkpoint of `step` is written.
  virtual void saved(std::int64_t step) { (void)step; }
  // The averaged weights are those of `step`, and a preview is due (Stage::preview).
  virtual void preview(std::int64_t step) { (void)step; }
  // Training continues from this earlier step: reports of later steps are void.
  virtual void rewound(std::int64_t step) { (void)step; }

  // Called after each step. A text that is not empty is the reason to stop ("SIGTERM"): the step is saved, and the training ends, on all ranks.
  virtual std::string stop_reason() { return {}; }
  // Asked after each step: whether to save a checkpoint now. True once for each request.
  virtual bool save_requested() { return false; }

  // Saved at this step, for a reason given by some rank.
  virtual void stopped(std::int64_t step, const std::string& reason) { (void)step, (void)reason; }

  // The end: the training returns, or throws `error` next (DivergedError: with advice added).
  virtual void ended(std::int64_t step, Outcome outcome) { (void)step, (void)outcome; }
  virtual void failed(std::int64_t step, const std::exception& error) { (void)step, (void)error; }
};

}  // namespace fm
