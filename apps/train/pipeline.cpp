#include "apps/train/pipeline.h"

// All stages in order, then the results for people: samples side by side, the table of scores, and the curves, in one report.html.
#include <algorithm>
#include <chrono>
#include <utility>

#include "apps/cli/program.h"
#include "apps/run/signals.h"
#include "flowmap/training/chain/comparison_grid.h"
#include "apps/train/points_report.h"
#include "apps/train/run_report.h"
#include "data/source.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/feature_rows.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/published_features.h"
#include "flowmap/training/move_aside.h"
#include "nn/training/ranks.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

// Whether the stage has work when its turn comes. Latents are made before the first generator that reads them, statistics after
// the decoder is trained (generators make them if they are missing).
bool has_work(const TrainingRun& run, const StageSpec& stage) {
  const Recipe& r = run.recipe();
  const auto table = stage_table();
  const auto reads_latents = [&](const StageSpec& s) { return s.is_generator() && s.in_pipeline(r); };
  if (stage.makes == Makes::latents) return run.lacks_cached_latents() && std::any_of(table.begin(), table.end(), reads_latents);
  if (stage.makes == Makes::statistics)
    return space_of(r).uses(r, stage.makes) && r.latents.from != "cache" && decoder_stage(r) != nullptr && decoder_stage(r)->in_pipeline(r);
  return stage.in_pipeline(r);
}

// Identifies a file by name, size and time, because it may have gigabytes.
std::string stamp_of(const std::string& where) {
  const std::filesystem::path file = weights_and_part(where).first;
  std::error_code none;
  const auto size = std::filesystem::file_size(file, none);
  const auto time = std::filesystem::last_write_time(file, none).time_since_epoch().count();
  return fmt::format("{} {} {}", where, size, time);
}

// Features other than the usual ones, and the state of their file.
std::string features_asked(const EvaluateConfig& c) {
  if (c.features.empty()) return "";
  const std::string file = parse_features(c.features).file;
  return " features " + c.features + (file.empty() ? "" : " " + stamp_of(file)) + (c.preparation.empty() ? "" : " " + c.preparation);
}

// The inputs of an evaluation of the whole run: each stage's newest checkpoint, by a checksum of its description, or the file in its place;
// the test split; and the requested scores.
std::string evaluated(const TrainingRun& run) {
  const Recipe& r = run.recipe();
  const EvaluateConfig& c = r.evaluate;
  std::string line = fmt::format("samples {} reference {} k {} calls {} teacher {} {}{} seed {} guidance {} test {}, weights:", c.samples, c.reference, c.k, c.steps,
                                 c.teacher, c.teacher_points, features_asked(c), r.seed, r.guidance, fingerprint(*open_source(r.data, Split::test)));
  if (r.guidance_from > 0 || r.guidance_to < 1) line += fmt::format(" guided from {} to {}", r.guidance_from, r.guidance_to);
  for (const StageSpec& s : stage_table()) {
    if (s.is_given(r)) {
      line += fmt::format(" {} {}", s.name, stamp_of(r.*s.given));
      continue;
    }
    const auto checkpoints = run.root() / s.name / "checkpoints";
    const auto state = checkpoints / step_name(newest_step(checkpoints)) / "state.json";
    if (std::filesystem::exists(state)) line += fmt::format(" {} {:08x}", s.name, crc32c(read_file(state)));
  }
  return line + "\n";
}

// For --fresh: moves the whole run aside at once, so that a stopped and resumed run finds no old stage.
void check_launch(TrainingRun& run) {
  RunOptions& launch = run.context().launch;
  if (launch.resume != "auto" && launch.resume != "never")
    throw ConfigError("--resume " + launch.resume + ": the command pipeline finds the checkpoints of all stages by itself, and a checkpoint fits only one stage: leave --resume out");
  if (!launch.init_from.empty())
    throw ConfigError(fmt::format("--init-from is for one stage ({}), not for pipeline", words(generator_stages(), "or")));
  if (!launch.fresh) return;
  run.context().ranks.only_first([&] {
    if (std::filesystem::exists(run.root())) move_aside(run.root(), run.context().log);
  });
  launch.fresh = false;
  launch.resume = "auto";
}

void show_scored(TrainingRun& run) {
  Messages& log = run.context().log;
  bool headed = false;
  evaluate_run(run, {.stages = {}, .features = {}, .page = true}, [&](const Score& s) {
    if (!std::exchange(headed, true)) log.info("{}", score_head(s));
    log.info("{}", score_row(s));
    publish_scores(run, {s});
  });
  const bool pictures = space_of(run.recipe()).pictures;
  if (pictures) write_comparison_grid(run);
  publish_scores(run, {});
  if (pictures) log.info("samples  {}", (run.root() / "samples.png").string());
}

// Makes samples, scores and report. Only the first rank calls this.
void show(TrainingRun& run) {
  Messages& log = run.context().log;
  const bool plane = run.recipe().in_plane();
  if (!plane && !has_features(run.recipe())) {
    log.info("no scores, because there is no judge: generate samples with flowmap_sample and give their .npz to an evaluator");
    return;
  }
  for (const char* file : {"samples.png", "scores.csv", "report.html", "evaluation/samples.html"}) remove_stale_temporaries_of(run.root() / file);     // left by a process that was killed
  const auto marker = run.root() / "evaluation" / "pipeline.txt", report = run.root() / "report.html";
  const std::string now = evaluated(run);
  if (std::filesystem::exists(report) && std::filesystem::exists(marker) && read_file(marker) == now) {
    if (!plane) publish_scores(run, {});             // a process that was killed may have left a report that is older than the scores
    log.info("already evaluated: see {} (delete it to evaluate again)", report.string());
    return;
  }
  if (plane) show_points(run, names_to_score(run, {}));
  else show_scored(run);
  std::filesystem::create_directories(marker.parent_path());
  write_atomically(marker, now);
  log.info("scores   {}", (run.root() / "scores.csv").string());
  log.info("report   {}", report.string());
}

bool stop_before(TrainingRun& run) { return sum_over_ranks(*run.context().ranks, {stop_requested() ? 1.0 : 0.0})[0] > 0; }

}  // namespace

int run_pipeline(TrainingRun& run) {
  check_launch(run);
  const auto start = std::chrono::steady_clock::now();
  Messages& log = run.context().log;
  for (const StageSpec& stage : stage_table()) {
    if (!has_work(run, stage)) continue;
    if (stop_before(run) || stage.run(run, stage) == Outcome::stopped) return exit_code::stopped_early;
    release_cached_memory();                               // the next stage's tensors have other sizes
    release_cached_memory(Device{});
  }
  const double minutes = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60;
  log.info("training took {:.1f} minutes in this process", minutes);
  run.context().ranks.only_first([&] { show(run); });
  return exit_code::finished;
}

}  // namespace fm
