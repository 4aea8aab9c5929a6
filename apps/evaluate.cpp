// evaluate: scores of a run's decoder, teacher and flow maps by a judge that no generator has seen.
#include "apps/support/program.h"
#include "apps/train/evaluation.h"

using namespace fm;

namespace {

struct EvaluateCommand {
  Recipe recipe;
  std::string only, csv;
  template <class V> void visit(V&& v) {
    v("only", only, "one of reconstruction, teacher, cmt, mfd, mft; empty: all that are there", flag("only"));
    v("csv", csv, "file for the table; empty: scores.csv in the run's folder", flag("csv"));
    recipe.visit(v);
  }
};

int score_run(EvaluateCommand& command, Context& context) {
  TrainingRun run(command.recipe, context);
  const std::vector<Score> scores = evaluate_run(run, command.only);
  save_scores(command.csv.empty() ? run.root() / "scores.csv" : std::filesystem::path(command.csv), scores);
  fmt::print("{}\n", score_table(scores));
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "evaluate",
                  .summary = "Scores a run: Frechet distance, precision, recall, conditional accuracy, PSNR of the decoder.",
                  .quickstart = "evaluate --config configs/quickstart.toml --out runs/quickstart --samples 10000"};
  program.add<EvaluateCommand>({.name = "", .help = "score a run's folder"}, score_run);
  return run_program(program, argc, argv);
}
