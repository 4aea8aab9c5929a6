#include "apps/train/run_report.h"

#include <algorithm>

#include "data/font.h"
#include "data/grid.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "data/report/html.h"
#include "flowmap/training/chain/samples_page.h"
#include "flowmap/training/shown_classes.h"
#include "tensor/io/atomic_file.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t rows_of_block = 4;

std::string text_of(const std::filesystem::path& file) { return std::filesystem::exists(file) ? read_file(file) : std::string(); }

Plot stage_curve(const std::filesystem::path& folder, const std::string& stage, std::vector<std::string> columns) {
  const std::string csv = read_file(folder / stage / "metrics.csv");
  const auto known = csv_columns(csv);
  std::erase_if(columns, [&](const std::string& column) { return std::find(known.begin(), known.end(), column) == known.end(); });
  Plot plot{.title = fmt::format("{}: {}", stage, fmt::join(columns, ", ")), .x_label = "step", .y_label = "", .log_y = true};
  for (const std::string& column : columns) plot.curves.push_back(csv_curve(csv, "step", column, column));
  return plot;
}

void add_samples(HtmlReport& report, const std::filesystem::path& png) {
  if (!std::filesystem::exists(png)) return;
  report.heading("Samples");
  report.paragraph(
      "Each column is a class; the blocks start from the same noise: the flow-matching teacher along its whole trajectory, then the flow "
      "map in one and in two network calls.");
  report.png(read_file(png));
}

void add_scores(HtmlReport& report, const std::vector<Score>& scores, std::size_t in_all) {
  report.heading("Scores");
  if (scores.empty()) return report.paragraph("None yet: evaluate computes them.");
  report.paragraph(
      "Pictures are compared with real test pictures (the reference) in the features of a judge that no generator saw: Frechet distance, kernel distance "
      "(KID), precision and recall. Accuracy is the share of samples that the judge takes for the class asked for. Other samples are compared by their "
      "values: the energy distance. Equal distributions have distance 0. The Frechet distance of few samples is too large: compare rows of equal counts.");
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows(scores.size());
  for (const ScoreColumn& column : score_columns()) {
    if (*column.title == 0 && !head.empty()) continue;  // the first is the name
    if (std::all_of(scores.begin(), scores.end(), [&](const Score& s) { return score_cell(s, column).empty(); })) continue;
    head.push_back(column.title);
    for (std::size_t i = 0; i < scores.size(); ++i) rows[i].push_back(shown_cell(scores[i], column));
  }
  report.table(
      head, rows,
      fmt::format(
          "The newest of {} rows in scores.csv, which also says what each was computed from; accuracy by class: scores-by-class.csv",
          in_all));
}

void add_training(HtmlReport& report, const std::filesystem::path& root) {
  report.heading("Training");
  report.paragraph(
      "With an adaptive metric the loss of mfd and mft stays near 1, whatever happens; raw_mse is the mean square before it. "
      "derivative_ratio is |du/dt| / |u|: when it grows, training is in danger. Each stage's folder has a report with all its curves.");
  std::vector<Plot> plots;
  std::string config;
  for (const StageSpec& stage : stage_table()) {
    if (const std::string text = text_of(root / stage.name / "config.toml"); !text.empty()) config = text;
    if (!std::filesystem::exists(root / stage.name / "metrics.csv")) continue;
    plots.push_back(stage_curve(root, stage.name, {"loss", "raw_mse"}));
    plots.push_back(stage_curve(root, stage.name, {"grad_norm", "derivative_ratio"}));
  }
  report.plots(plots);
  if (!config.empty()) report.preformatted(config, "config.toml");
}

}  // namespace

void write_comparison_grid(TrainingRun& run) {
  const Recipe& r = run.recipe();
  const std::int64_t points = r.evaluate.teacher_points;
  const int scale = grid_scale(r.image_size);
  const std::string last = run.last_student();
  const std::string names[] = {fmt::format("teacher {}", points), last + " 1 step", last + " 2 steps"};
  int left = 0;                                  // pixels of the labels of rows
  for (const std::string& name : names) left = std::max(left, text_width(name) + 6);
  const ShownClasses shown = shown_classes(r.classes, run.class_names(), narrow<int>(r.image_size), scale, left);
  if (!shown.title.empty()) run.context().log.info("samples.png shows {}, at equal distances", shown.title);
  const auto columns = std::ssize(shown.labels);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows_of_block * columns; ++i) labels.push_back(shown.labels[static_cast<std::size_t>(i % columns)]);
  std::vector<Image> pictures;
  std::vector<std::string> row_labels;
  const auto add = [&](const std::string& name, const LatentGenerator& generate) {
    for (Image& image : to_images(generate_images(run.decoding_space(), generate, consecutive(0, rows_of_block * columns), labels,
                                                  static_cast<std::uint64_t>(r.seed), run.sampling_batch())))
      pictures.push_back(std::move(image));
    for (std::int64_t i = 0; i < rows_of_block; ++i) row_labels.push_back(i == 0 ? name : "");
  };
  add(names[0], run.teacher_generator(run.load_teacher().v(), points));
  const auto student = run.load_student(last);
  for (const int n : {1, 2})
    if (takes_calls(run.aim_of(last).jumps, n)) add(names[n], run.student_generator(last, student, n));
  write_png(run.root() / "samples.png", make_grid(pictures, {.columns = narrow<int>(columns),
                                                             .scale = scale,
                                                             .title = shown.title,
                                                             .column_labels = shown.names,
                                                             .row_labels = row_labels}));
}

void write_run_report(const TrainingRun& run, const std::vector<Score>& all, const std::string& pictures) {
  HtmlReport report("flowmap: from noise to " + run.recipe().data + " in one step", "run in " + run.root().string());
  if (pictures.empty()) add_samples(report, run.root() / "samples.png");
  else report.embed(pictures);                   // of the newest evaluation; the scores are of all
  add_scores(report, newest_scores(all), all.size());
  if (pictures.empty()) report.embed(text_of(samples_page(run.root())));
  add_training(report, run.root());
  write_atomically(run.root() / "report.html", report.html());
}

void publish_scores(const TrainingRun& run, const std::vector<Score>& scores, const std::string& pictures) {
  fm::add_scores(run.root() / "scores.csv", scores, [&](const std::vector<Score>& all) { write_run_report(run, all, pictures); });
}

}  // namespace fm
