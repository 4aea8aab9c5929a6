#include "flowmap/training/run_files.h"

#include <fmt/format.h>

#include <cstdio>

#include "data/report/training_report.h"
#include "nn/checkpoint_folder.h"
#include "nn/config/toml_text.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;

void RunFiles::message(const std::string& line) { fmt::print(stderr, "{}\n", line); }
void RunFiles::warning(const std::string& line) { fmt::print(stderr, "warning: {}\n", line); }

void RunFiles::take(const TrainingSetup& setup) {
  stage_ = &setup.stage, loop_ = &setup.loop;
  folder_ = setup.options.folder(setup.stage);
  writes_ = setup.ranks.first();
}

void RunFiles::opening(const TrainingSetup& setup) {
  take(setup);
  if (!writes_) return;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw FileError(fmt::format("{}: cannot create the folder: {}", folder_.string(), error.message()));
  lock_.reset();                                          // releases the lock of an earlier training that used this object
  lock_.emplace(folder_);
  for (const char* part : {"", "samples", "checkpoints"}) remove_stale_temporaries(folder_ / part);
}

void RunFiles::open_metrics(std::int64_t step) {
  metrics_ = std::make_unique<Metrics>(folder_, which_);
  metrics_->truncate_after(step);
}

void RunFiles::started(std::int64_t step) {
  if (!writes_) return;
  if (!stage_->fields.empty()) write_atomically(folder_ / "config.toml", to_toml(stage_->fields));
  open_metrics(step);
}

bool RunFiles::lacks_preview(std::int64_t step) const {
  return stage_->preview && loop_->sample_every >= 0 && !fs::exists(folder_ / "samples" / (step_name(step) + ".png"));
}

bool RunFiles::found_done(std::int64_t step) {
  return writes_ && (lacks_preview(step) || (which_.html && !fs::exists(folder_ / "report.html")));
}

void RunFiles::completing(std::int64_t step) {
  if (writes_) open_metrics(step);
}

void RunFiles::step_done(std::int64_t step, const StepReport& report) {
  if (writes_ && (step % loop_->log_every == 0 || step == loop_->steps))
    message(fmt::format("{}: step {}/{}  loss {:.4f}  |g| {:.2f}  lr {:.1e}", stage_->name, step, loop_->steps, report.loss, report.grad_norm, report.lr));
}

void RunFiles::attempt(const char* what, const std::function<void()>& write) {
  const auto failed = [&](const std::string& why) {
    if (failed_.insert(what).second) warning(fmt::format("{}: {}: {}; training continues without it", stage_->name, what, why));
  };
  try {
    write();
  } catch (const FileError& e) {
    failed(e.what());
  } catch (const fs::filesystem_error& e) {
    failed(e.what());
  }
}

void RunFiles::row(std::int64_t step, const LoopNumbers& numbers) {
  if (!writes_) return;
  std::vector<Metric> metrics;
  for (const auto& [name, value] : numbers) metrics.push_back({name, value});
  attempt("metrics", [&] { metrics_->log(step, metrics); });
}

void RunFiles::rewound(std::int64_t step) {
  if (writes_) attempt("metrics", [&] { metrics_->truncate_after(step); });
}

void RunFiles::saved(std::int64_t) {
  if (writes_ && which_.html) attempt("report.html", [&] { write_training_report(folder_, stage_->name); });
}

bool RunFiles::make_preview(std::int64_t step, const fs::path& png) {
  stage_->preview(step, png);
  return true;
}

void RunFiles::preview(std::int64_t step) {
  if (!writes_) return;
  attempt("samples", [&] {
    fs::create_directories(folder_ / "samples");
    const fs::path png = folder_ / "samples" / (step_name(step) + ".png");
    if (make_preview(step, png) && fs::exists(png)) metrics_->image(step, "samples", png);
  });
}

}  // namespace fm
