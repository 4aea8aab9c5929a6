// The status line of a run:
//   step 1200/20000  6.0%  loss 0.4312  |g| 0.87  lr 1.0e-04  14.2 it/s  909 img/s  ETA 22:05  mem 1.3 GiB
// Redrawn in place on a terminal; elsewhere one plain line every `log_every` steps. Rates leave out the first step (it warms caches
// and allocators) and the time marked with exclude(): sampling, saving.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "apps/cli/logger.h"
#include "nn/training/observer.h"

namespace fm {

struct ProgressState {
  int64_t step = 0, total = 0;  // steps done, steps in all
  StepReport report;
  double steps_per_second = 0;    // 0: not known yet
  double samples_per_second = 0;  // 0: not shown
  double eta_seconds = -1;        // below 0: not known yet
  int64_t memory_bytes = 0;       // 0: not shown
};

// The line in at most `width` columns. If it is too long, memory is left out first, then img/s, lr and |g|. The loss and the ETA always stay.
std::string progress_line(const ProgressState& state, size_t width = 10000);

class Progress {
 public:
  struct Options {
    int64_t total_steps = 0;
    int64_t done_steps = 0;        // on resume: the steps that the checkpoint has
    int64_t samples_per_step = 0;  // the batch; 0: no img/s
    int64_t log_every = 50;
  };
  using Clock = std::function<double()>;  // seconds, rising

  Progress(Logger& log, Options options, Clock clock = steady_seconds);
  ~Progress() { finish(); }

  // Call after each step. `step` counts the steps done, from 1.
  void step_done(int64_t step, const StepReport& report);

  // The rates leave out the time during which such an object lives.
  class Excluded {
   public:
    explicit Excluded(Progress& progress) : progress_(progress), start_(progress.clock_()) {}
    ~Excluded() { progress_.last_ += progress_.clock_() - start_; }
    Excluded(const Excluded&) = delete;
    Excluded& operator=(const Excluded&) = delete;

   private:
    Progress& progress_;
    double start_;
  };
  [[nodiscard]] Excluded exclude() { return Excluded(*this); }

  void finish() { log_.end_status(); }

  const ProgressState& state() const { return state_; }  // for metrics.log: rates and memory
  static double steady_seconds();

 private:
  void update_rates(double seconds);

  Logger& log_;
  Options options_;
  Clock clock_;
  ProgressState state_;
  double last_;  // clock at the end of the last step, plus the excluded time since then
  double last_drawn_ = -1e9;
  double steps_seen_ = 0, seconds_seen_ = 0;  // sums of steps and seconds that forget exponentially
  bool first_step_ = true;
};

// The status line of work on a number of images:   encoding 1200/50000 images  2.4%  14.2 img/s  ETA 57:10
// Redrawn in place on a terminal; elsewhere one line every half minute and one at the end.
class ImageProgress {
 public:
  ImageProgress(Logger& log, std::string what, int64_t total, Progress::Clock clock = Progress::steady_seconds)
      : log_(log), what_(std::move(what)), total_(total), clock_(std::move(clock)) {}
  ~ImageProgress() { log_.end_status(); }
  ImageProgress(const ImageProgress&) = delete;
  ImageProgress& operator=(const ImageProgress&) = delete;

  // Starts the clock, with `there` images already made. Without begin() the first call of at() starts it, and the rate leaves out the images that are
  // done by then.
  void begin(int64_t there);
  void at(int64_t done);

 private:
  Logger& log_;
  std::string what_;
  int64_t total_, there_ = -1;
  Progress::Clock clock_;
  double start_ = 0, told_ = 0;
};

}  // namespace fm
