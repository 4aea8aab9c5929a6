#include "apps/train/loop_files.h"

#include <omp.h>

#include "apps/support/ranks.h"
#include "apps/support/signals.h"
#include "apps/support/training_report.h"
#include "nn/checkpoint_folder.h"

namespace fm {

LoopFiles::LoopFiles(const Stage& stage, const LoopConfig& loop, LogFiles which, Context& context)
    : stage_(stage),
      loop_(loop),
      which_(which),
      context_(context),
      folder_(std::filesystem::path(context.launch.out) / stage.name, context.launch.fresh, context.log) {}

void LoopFiles::begin(std::uint64_t seed, std::int64_t step) {
  folder_.write_config(fields_of(stage_, context_));
  begin_again(seed, step);
}

void LoopFiles::begin_again(std::uint64_t seed, std::int64_t step) {
  folder_.begin_session({.command_line = context_.command_line, .seed = static_cast<std::int64_t>(seed & 0x7fffffffffffffff),
                         .threads = omp_get_max_threads(), .ranks = context_.ranks->size(), .device = to_string(default_device()),
                         .resumed_from = step > 0 ? step : -1});
  metrics_ = std::make_unique<Metrics>(folder_.path(), which_);
  metrics_->truncate_after(step);
}

template <class F> void LoopFiles::attempt(const char* what, const F& write) {
  const auto told = [&](const std::string& why) {
    if (failed_.insert(what).second) context_.log.warning("{}: {}: {}; training continues without it", stage_.name, what, why);
  };
  try {
    write();
  } catch (const FileError& e) {
    told(e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    told(e.what());
  }
}

void LoopFiles::rewind(std::int64_t step) {
  attempt("metrics", [&] { metrics_->truncate_after(step); });
}

void LoopFiles::log(std::int64_t step, const std::vector<Metric>& row) {
  attempt("metrics", [&] { metrics_->log(step, row); });
}

void LoopFiles::preview(std::int64_t step) {
  attempt("samples", [&] {
    const auto png = folder_.sample(step);
    try {
      stage_.preview(step, png);
      if (std::filesystem::exists(png)) metrics_->image(step, "samples", png);
    } catch (const StopRequested&) {
      context_.log.info("{}: no samples of step {}: {}", stage_.name, step, stop_reason());
    }
  });
}

void LoopFiles::report() {
  if (which_.html) attempt("report.html", [&] { write_training_report(folder_, stage_.name); });
}

void LoopFiles::end(int exit_code, std::int64_t step) {
  attempt("run.json", [&] { folder_.end_session(exit_code, step); });
}

bool LoopFiles::lacks_preview(std::int64_t step) const {
  return stage_.preview && loop_.sample_every >= 0 && !std::filesystem::exists(folder_.path() / "samples" / (step_name(step) + ".png"));
}

bool LoopFiles::lacks_something(std::int64_t step) const {
  return !folder_.ended_well() || lacks_preview(step) || (which_.html && !std::filesystem::exists(folder_.report()));
}

void LoopFiles::tell_differences(const char* remedy) const {
  for (const std::string& difference : folder_.config_differences(fields_of(stage_, context_)))
    if (concerns_stage(difference)) context_.log.warning("{}: config: {}{}", stage_.name, difference, remedy);
}

// "fm.loop.steps was 3, is 4" says nothing about the stage mfd, "dit.width ..." about all.
bool LoopFiles::concerns_stage(const std::string& difference) const {
  const std::string part = difference.substr(0, difference.find_first_of(". "));
  const std::string& own = stage_.part.empty() ? stage_.name : stage_.part;
  for (const char* other : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft", "evaluate", "log"})
    if (part == other) return part == own;
  return true;
}

}  // namespace fm
