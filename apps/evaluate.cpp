// evaluate: scores of a run's decoder, teacher and flow maps in the features of a classifier, the judge, that is independent of all generators; and
// metrics of files of images without a run (apps/evaluate/pictures.h).
#include <utility>

#include "apps/cli/console.h"
#include "apps/cli/program.h"
#include "apps/evaluate/pictures.h"
#include "apps/run/run_observer.h"
#include "apps/train/points_report.h"
#include "apps/train/run_report.h"
#include "flowmap/training/chain/evaluation.h"
#include "tensor/narrow.h"

using namespace fm;

namespace {

struct EvaluateCommand {
  Recipe recipe;
  std::vector<std::string> stages;
  std::string only, csv, features;
  template <class V>
  void visit(V&& v) {
    v("stage", stages,
      fmt::format("generators to score instead of all in the run; last: the first of {} that is trained", newest_first(stages_that_make(Makes::flow_map))),
      flag("stage"), basic(), value_as(fmt::format("last|{}|ablate/WHAT/VARIANT,...", fmt::join(scored_names(), "|"))));
    v("only", only, "old name of --stage", flag("only"));
    v("csv", csv, "table that the scores are added to; empty: scores.csv in the run's folder, with a new report.html",
      flag("csv"), basic(), value_as("FILE"));
    v("features_out", features, "file for the features of the reference and of all samples (.npz)", flag("features-out"), value_as("FILE"));
    recipe.visit(v);
  }
  EvaluateRequest request() const {
    EvaluateRequest r{.stages = stages, .features = features, .page = stages.empty() && only.empty() && csv.empty()};
    if (!only.empty()) r.stages.push_back(only);
    return r;
  }
};

// Scores all generators of a run in the plane together, by the points themselves and not by features.
int score_points(const EvaluateCommand& command, TrainingRun& run) {
  if (!command.csv.empty() || !command.features.empty())
    throw ConfigError("--csv and --features-out are for scores in features: leave both out, because points of the plane have other scores: " + run.recipe().data);
  show_points(run, names_to_score(run, command.request().stages));
  run.context().log.info("scores   {}", (run.root() / "scores.csv").string());
  run.context().log.info("report   {}", (run.root() / "report.html").string());
  return exit_code::finished;
}

int score_run(EvaluateCommand& command, Context& context) {
  TrainingRun run(command.recipe, run_context(context));
  run.need_folder();
  if (run.recipe().in_plane()) return score_points(command, run);
  const std::filesystem::path own = run.root() / "scores.csv", csv = command.csv.empty() ? own : std::filesystem::path(command.csv);
  add_scores(csv, {});  // refuses an unreadable or unwritable file now rather than after the evaluation
  bool headed = false;
  evaluate_run(run, command.request(), [&](const Score& score) {
    if (!std::exchange(headed, true)) print_copy("{}\n", score_head(score));
    print_copy("{}\n", score_row(score));
    flush_results();  // shows each row at once, because a teacher takes minutes
    if (csv == own)
      publish_scores(run, {score});
    else
      add_scores(csv, {score});
  });
  context.log.info("scores   {}", csv.string());
  if (command.request().page) publish_scores(run, {});             // once more, with the page of samples
  if (csv == own) context.log.info("report   {}", (run.root() / "report.html").string());
  if (!command.features.empty()) context.log.info("features {}", command.features);
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "evaluate",
                  .summary = "Scores a run, or a folder of images: Frechet distance, precision, recall, PSNR and their kin.",
                  .quickstart = "evaluate --config configs/quickstart.toml --out runs/quickstart --samples 10000",
                  .default_command = "run"};
  program.add<EvaluateCommand>(
      {.name = "run",
       .help = "score the decoder, the teacher and the flow maps in a run's folder",
       .examples = {{"the flow map in one, two and four calls",
                     "evaluate --config configs/quickstart.toml --out runs/quickstart --stage last --calls 1,2,4"},
                    {"everything but the teacher, which takes longest",
                     "evaluate --config configs/quickstart.toml --out runs/quickstart --no-teacher --samples 10000"},
                    {"in the features of FID's Inception instead of the judge's",
                     "evaluate --config configs/quickstart.toml --out runs/quickstart --evaluate.features inception:FILE --evaluate.preparation half-pixel"}},
       .own_config = [](const std::string& out) { return stored_config(out); },
       .unlisted = entries_besides({"seed", "guidance", "guidance_from", "guidance_to", "class_names", "judge_weights", "evaluate"}), .listed_by = lists_all_entries},
      score_run);
  program.add<PicturesCommand>(
      {.name = "pictures",
       .help = "measure a folder or an array of images: FID, sFID, Inception Score, KID, precision, recall, PSNR, SSIM, LPIPS",
       .has_folder = false,
       .parallel = true,
       .examples = {{"FID as guided-diffusion and torch-fidelity compute it",
                     "evaluate pictures --samples samples.npz --reference VIRTUAL_imagenet256_labeled.npz --features inception:pt_inception-2015-12-05-6726825d.pth"},
                    {"FID as pytorch-fid computes it", "evaluate pictures --samples DIR --reference DIR --features inception:FILE --preparation half-pixel --metrics fid"},
                    {"reconstructions against their originals", "evaluate pictures --samples DIR --reference DIR --pairs"}}},
      evaluate_pictures);
  const std::vector<const char*> arguments = with_pictures(argc, argv);
  return run_program(program, narrow<int>(std::ssize(arguments), "arguments"), arguments.data());
}
