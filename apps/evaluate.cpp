// evaluate: scores of a run's decoder, teacher and flow maps by a judge that no generator has seen.
#include "apps/support/program.h"
#include "apps/train/evaluation.h"

using namespace fm;

namespace {

struct EvaluateCommand {
  Recipe recipe;
  std::string only, csv;
  template <class V> void visit(V&& v) {
    v("only", only, "score one of these instead of all that are there", one_of({"", "reconstruction", "teacher", "cmt", "mfd", "mft"}),
      flag("only"));
    v("csv", csv, "file for the table; empty: scores.csv in the run's folder, with --only scores-NAME.csv", flag("csv"));
    recipe.visit(v);
  }
};

int score_run(EvaluateCommand& command, Context& context) {
  TrainingRun run(command.recipe, context);
  run.need_folder();
  const std::string name = command.only.empty() ? "scores.csv" : "scores-" + command.only + ".csv";
  const auto csv = command.csv.empty() ? run.root() / name : std::filesystem::path(command.csv);
  const std::vector<Score> scores = evaluate_run(run, command.only, [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);  // a teacher takes minutes: each row as it is known
  });
  save_scores(csv, scores);
  context.log.info("scores   {}", csv.string());
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
