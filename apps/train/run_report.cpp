#include "apps/train/run_report.h"

#include <algorithm>

#include "flowmap/training/chain/class_scores.h"
#include "flowmap/training/chain/stages_section.h"
#include "data/report/html.h"
#include "flowmap/training/chain/samples_page.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

std::string text_of(const std::filesystem::path& file) { return std::filesystem::exists(file) ? read_file(file) : std::string(); }

void add_samples(HtmlReport& report, const std::filesystem::path& png) {
  if (!std::filesystem::exists(png)) return;
  report.heading("Samples");
  report.paragraph(
      "Each column is a class. The first blocks are real test images and, where an autoencoder makes the latents, the same images encoded and decoded. No generator can look better than these. "
      "The other blocks start from the same noise. They are samples of the flow-matching teacher along its whole trajectory, then of the flow map in one and in two network calls.");
  report.png(read_file(png));
}

void add_scores(HtmlReport& report, const std::vector<Score>& scores, std::size_t in_all) {
  report.heading("Scores");
  if (scores.empty()) return report.paragraph("There are no scores yet: the program evaluate computes them.");
  report.paragraph(
      "Images are compared with real test images (the reference) in features: those of a classifier that no generator saw, the judge, or of the network that the "
      "column names. Distances in different features cannot be compared. Accuracy is the share of samples that the judge assigns to the requested class. Other samples "
      "are compared by the energy distance between their values. Equal distributions have distance 0. The Frechet distance of few samples is too large: compare rows with equal numbers of samples.");
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows(scores.size());
  for (const ScoreColumn& column : score_columns()) {
    if (*column.title == 0 && !head.empty()) continue;  // the first column without a title is the name
    if (std::all_of(scores.begin(), scores.end(), [&](const Score& s) { return score_cell(s, column).empty(); })) continue;
    head.push_back(column.title);
    for (std::size_t i = 0; i < scores.size(); ++i) rows[i].push_back(shown_cell(scores[i], column));
  }
  report.table(
      head, rows,
      fmt::format(
          "The newest of {} rows in scores.csv, which also lists the inputs of each score",
          in_all));
}

void add_config(HtmlReport& report, const std::filesystem::path& root) {
  std::string config;
  for (const StageSpec& stage : stage_table())
    if (const std::string text = text_of(root / stage.name / "config.toml"); !text.empty()) config = text;
  if (!config.empty()) report.preformatted(config, "config.toml");
}

}  // namespace

void write_run_report(const TrainingRun& run, const std::vector<Score>& all, const std::string& pictures) {
  HtmlReport report("flowmap: from noise to " + run.recipe().data + " in one step", "run in " + run.root().string());
  if (pictures.empty()) add_samples(report, run.root() / "samples.png");
  else report.embed(pictures);                   // the pictures are from the newest evaluation, the scores from all evaluations
  std::vector<Score> scores = newest_scores(all);
  read_classes(run.root() / "scores.csv", scores);
  add_scores(report, scores, all.size());
  add_class_scores(report, scores);
  if (pictures.empty()) report.embed(text_of(samples_page(run.root())));
  add_stages(report, run.root());
  add_config(report, run.root());
  write_atomically(run.root() / "report.html", report.html());
  renew_stage_reports(run.root());
}

void publish_scores(const TrainingRun& run, const std::vector<Score>& scores, const std::string& pictures) {
  fm::add_scores(run.root() / "scores.csv", scores, [&](const std::vector<Score>& all) { write_run_report(run, all, pictures); });
}

}  // namespace fm
