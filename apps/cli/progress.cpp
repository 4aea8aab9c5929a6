// Rates forget exponentially: the number of steps and the sum of their seconds are both halved for every 30 s that pass, so
//   rate = sum_i w_i / sum_i w_i dt_i,  w_i = 2^(-age_i / 30 s).
// A run that slows down shows it within half a minute, and single slow steps do not make the ETA jump.
#include "apps/cli/progress.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "apps/cli/text.h"
#include "data/report/numbers.h"
#include "tensor/memory/machine_memory.h"

namespace fm {

namespace {

// The parts of a line: `level` 4 has all of them, each lower level leaves out one more.
std::string line_of_level(const ProgressState& state, int level) {
  const StepReport& report = state.report;
  std::string line = fmt::format("step {}/{}  {:.1f}%  loss {:.4f}", state.step, state.total,
                                 state.total > 0 ? 100.0 * double(state.step) / double(state.total) : 100.0, report.loss);
  if (level >= 1 && (report.grad_norm >= 0 || std::isnan(report.grad_norm))) line += fmt::format("  |g| {:.2f}", report.grad_norm);
  if (level >= 2 && report.lr >= 0) line += fmt::format("  lr {:.1e}", report.lr);
  line += "  " + rate_text(state.steps_per_second, "it");
  if (level >= 3 && state.samples_per_second > 0) line += "  " + rate_text(state.samples_per_second, "img");
  line += "  ETA " + duration_text(state.eta_seconds);
  if (level >= 4 && state.memory_bytes > 0) line += "  mem " + bytes_text(double(state.memory_bytes));
  return line;
}

}  // namespace

std::string progress_line(const ProgressState& state, size_t width) {
  for (int level = 4; level > 0; --level)
    if (const std::string line = line_of_level(state, level); line.size() <= width) return line;
  return line_of_level(state, 0);
}

double Progress::steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Progress::Progress(Logger& log, Options options, Clock clock) : log_(log), options_(options), clock_(std::move(clock)), last_(clock_()) {
  state_.total = options_.total_steps;
  state_.step = options_.done_steps;
}

void Progress::update_rates(double seconds) {
  constexpr double half_life = 30;
  const double keep = std::exp2(-seconds / half_life);
  steps_seen_ = steps_seen_ * keep + 1;
  seconds_seen_ = seconds_seen_ * keep + seconds;
  state_.steps_per_second = seconds_seen_ > 0 ? steps_seen_ / seconds_seen_ : 0;
  state_.samples_per_second = state_.steps_per_second * double(options_.samples_per_step);
}

void Progress::step_done(int64_t step, const StepReport& report) {
  const double now = clock_();
  if (!first_step_) update_rates(now - last_);
  first_step_ = false;
  last_ = now;
  state_.step = step;
  state_.report = report;
  state_.eta_seconds = state_.steps_per_second > 0 ? double(state_.total - step) / state_.steps_per_second : -1;
  const bool due = options_.log_every > 0 && (step % options_.log_every == 0 || step == state_.total);
  const bool redraw = log_.on_terminal() && (now - last_drawn_ > 0.1 || step == state_.total);
  if (!due && !redraw) return;
  state_.memory_bytes = resident_bytes();
  const std::string line = progress_line(state_);
  if (redraw) log_.status(progress_line(state_, log_.columns() - 1)), last_drawn_ = now;
  if (!due) return;
  if (log_.on_terminal())
    log_.record(line);
  else
    log_.info("{}", line);
}

void ImageProgress::begin(int64_t there) {
  there_ = there;
  start_ = told_ = clock_();
}

void ImageProgress::at(int64_t done) {
  constexpr double pause = 30;
  if (there_ < 0) begin(done);
  const double now = clock_(), spent = now - start_, rate = spent > 0 ? double(done - there_) / spent : 0;
  const std::string line =
      fmt::format("{}{}{}/{} images  {:.1f}%  {}  ETA {}", what_, what_.empty() ? "" : " ", done, total_,
                  total_ > 0 ? 100.0 * double(done) / double(total_) : 100.0, rate_text(rate, "img"),
                  duration_text(done >= total_ ? 0 : rate > 0 ? double(total_ - done) / rate : -1));
  if (log_.on_terminal()) return log_.status(line);
  if (done < total_ && now - told_ < pause) return;
  log_.info("{}", line);
  told_ = now;
}

}  // namespace fm
