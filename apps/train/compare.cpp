#include "apps/train/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "data/report/clock.h"
#include "data/report/csv.h"
#include "data/report/metric_plot.h"
#include "data/report/numbers.h"
#include "data/report/training_report.h"
#include "flowmap/training/chain/compared.h"
#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/config/toml_text.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string text_there(const fs::path& file) { return fs::is_regular_file(file) ? read_file(file) : std::string(); }

// Trainings that share plots. If all folders are runs, each stage has a group. Else there is one group: the last training of each run and all others.
struct Group {
  std::string heading;
  std::vector<const ComparedTraining*> trainings;
};

std::vector<Group> groups_of(const std::vector<Compared>& all) {
  std::vector<Group> groups;
  if (!std::all_of(all.begin(), all.end(), [](const Compared& c) { return c.is_run; })) {
    Group one;
    for (const Compared& c : all)
      for (const ComparedTraining& t : c.trainings)
        if (!c.is_run || &t == &c.trainings.back()) one.trainings.push_back(&t);
    return {one};
  }
  for (const StageSpec& stage : stage_table()) {
    Group group{.heading = stage.name, .trainings = {}};
    for (const Compared& c : all)
      for (const ComparedTraining& t : c.trainings)
        if (t.stage == stage.name) group.trainings.push_back(&t);
    if (!group.trainings.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

// A plot for each column that changes, or differs between trainings. There are eight colors; further curves are dashed.
std::vector<Plot> plots_of(const Group& group) {
  std::vector<std::string> csvs, columns;
  for (const ComparedTraining* t : group.trainings) {
    csvs.push_back(read_file(t->folder / "metrics.csv"));
    for (const std::string& column : csv_columns(csvs.back()))
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
  }
  std::vector<Plot> plots;
  for (const std::string& column : metrics_in_order(columns)) {
    std::vector<Curve> curves;
    std::set<double> constants;
    bool changes = false;
    for (std::size_t i = 0; i < csvs.size(); ++i) {
      const std::vector<std::string> known = csv_columns(csvs[i]);
      Curve curve{.name = group.trainings[i]->label};      // a training without values keeps its curve, so that the others keep their colors
      if (std::find(known.begin(), known.end(), column) != known.end()) curve = csv_curve(csvs[i], "step", column, curve.name);
      curve.dashed = i >= 8;
      if (is_constant(curve)) constants.insert(curve.y.front());
      else changes = changes || !curve.y.empty();
      curves.push_back(std::move(curve));
    }
    if (changes || constants.size() > 1) plots.push_back(metric_plot(column, curves));
  }
  return plots;
}

void add_compared_curves(HtmlReport& page, const std::vector<Compared>& all) {
  page.heading("Curves");
  page.paragraph(
      "Lines are means of the rows of metrics.csv around each step, bands reach from the 10 % to the 90 % quantile of these rows; short trainings are shown row by row. Losses of "
      "different objectives or data cannot be compared with each other: look at samples and scores.");
  for (const Group& group : groups_of(all)) {
    if (!group.heading.empty()) page.subheading(group.heading);
    page.plots(plots_of(group));
  }
}

fs::path newest_png(const fs::path& folder) {
  fs::path newest;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (entry.path().extension() == ".png" && entry.path() > newest) newest = entry.path();
  return newest;
}

void add_compared_samples(HtmlReport& page, const std::vector<Compared>& all) {
  std::vector<PngFigure> figures;
  const auto add = [&](const std::string& label, const fs::path& png) {
    if (fs::is_regular_file(png)) figures.push_back({read_file(png), label + ": " + png.filename().string()});
  };
  for (const Compared& c : all) {
    if (c.is_run && fs::is_regular_file(c.folder / "samples.png")) add(c.label, c.folder / "samples.png");
    else if (c.is_run) add(c.trainings.back().label, newest_png(c.trainings.back().folder / "samples"));
    else
      for (const ComparedTraining& t : c.trainings) add(t.label, newest_png(t.folder / "samples"));
  }
  if (figures.empty()) return;
  page.heading("Samples");
  page.images(figures);
}

// Returns the scores in the rows of an ablation's trials.csv whose column "folder" names this training's folder.
std::vector<Score> scores_of_trial(const fs::path& trials, const fs::path& folder) {
  const CsvRows rows = parse_csv(text_there(trials));
  if (rows.empty()) return {};
  const auto column = static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), "folder") - rows[0].begin());
  std::vector<Score> out;
  const std::vector<Score> all = read_scores(trials);
  for (std::size_t i = 0; i < all.size() && i + 1 < rows.size(); ++i)
    if (column < rows[i + 1].size() && !rows[i + 1][column].empty() && folder.string().ends_with("/" + rows[i + 1][column]) && !all[i].name.empty()) out.push_back(all[i]);
  return out;
}

// Returns the newest scores: for a run all of them, for a stage those of its weights, for a variant those in its ablation's trials.csv.
std::vector<std::pair<std::string, Score>> scores_of_compared(const Compared& c) {
  std::vector<std::pair<std::string, Score>> out;
  if (c.is_run) {
    for (const Score& s : newest_scores(read_scores(c.folder / "scores.csv"))) out.emplace_back(c.label, s);
    return out;
  }
  for (const ComparedTraining& t : c.trainings) {
    for (const Score& s : newest_scores(read_scores(t.folder.parent_path() / "scores.csv")))
      if (s.stage == t.stage) out.emplace_back(t.label, s);
    for (const Score& s : scores_of_trial(t.folder.parent_path().parent_path() / "trials.csv", t.folder)) out.emplace_back(t.label, s);
  }
  return out;
}

// Identifies the reference by data and fingerprint. The number of test samples does not suffice, because the data or the judge may differ.
std::string reference_of(const Score& s) { return s.reference_id.empty() ? s.data : s.data + " " + s.reference_id; }

// Returns why some rows of the table cannot be compared with each other, or "" if all can.
std::string what_keeps_apart(const std::vector<std::pair<std::string, Score>>& scores) {
  std::set<std::string> references;
  std::set<std::int64_t> samples;
  for (const auto& named : scores) references.insert(reference_of(named.second)), samples.insert(named.second.samples);
  if (references.size() > 1)
    return fmt::format("These scores have {} references (last column). Distances, precision, recall and accuracy cannot be compared between them.", references.size());
  if (samples.size() > 1) return "These scores are of different numbers of samples. A distance of fewer samples is larger: compare rows with equal numbers of samples.";
  return "";
}

void add_compared_scores(HtmlReport& page, const std::vector<Compared>& all) {
  std::vector<std::pair<std::string, Score>> scores;
  for (const Compared& c : all)
    for (auto& score : scores_of_compared(c)) scores.push_back(std::move(score));
  page.heading("Scores");
  if (scores.empty()) return page.paragraph("None of the trainings has scores: the program evaluate computes them.");
  if (const std::string apart = what_keeps_apart(scores); !apart.empty()) page.paragraph(apart);
  std::vector<std::string> head{"of"};
  Rows rows, keys;
  for (const auto& named : scores) rows.push_back({named.first}), keys.push_back({named.first});
  for (const ScoreColumn& column : score_columns()) {
    const bool is_name = std::string_view(column.name) == "name";
    if (*column.title == 0 && !is_name) continue;
    if (std::all_of(scores.begin(), scores.end(), [&](const auto& named) { return score_cell(named.second, column).empty(); })) continue;
    head.emplace_back(is_name ? "generator" : column.title);
    for (std::size_t i = 0; i < scores.size(); ++i)
      rows[i].push_back(shown_cell(scores[i].second, column)), keys[i].push_back(score_cell(scores[i].second, column));
  }
  head.emplace_back("reference of");
  for (std::size_t i = 0; i < scores.size(); ++i) rows[i].push_back(reference_of(scores[i].second)), keys[i].push_back(reference_of(scores[i].second));
  page.sortable_table(head, rows, keys, "Compare only rows of equal reference and number of samples. A click on a heading sorts");
}

fs::path config_of(const Compared& c) { return c.is_run ? stored_config(c.folder) : c.trainings.front().folder / "config.toml"; }

void add_settings(HtmlReport& page, const std::vector<Compared>& all) {
  std::vector<std::map<std::string, std::string>> settings;
  std::set<std::string> keys;
  for (const Compared& c : all) {
    settings.push_back(toml_settings(text_there(config_of(c))));
    for (const auto& [key, value] : settings.back()) keys.insert(key);
  }
  Rows rows;
  for (const std::string& key : keys) {
    std::vector<std::string> row{key};
    std::set<std::string> values;
    for (const auto& of : settings) {
      const auto found = of.find(key);
      row.push_back(found == of.end() ? "-" : found->second);
      values.insert(row.back());
    }
    if (values.size() > 1) rows.push_back(std::move(row));
  }
  page.heading("Settings that differ");
  if (rows.empty()) return page.paragraph(keys.empty() ? "None of the folders has a config.toml." : fmt::format("None of the {} settings.", keys.size()));
  std::vector<std::string> head{"setting"};
  for (const Compared& c : all) head.push_back(c.label);
  page.table(head, rows, "A dash: the config does not have the setting");
}

void add_trainings(HtmlReport& page, const std::vector<Compared>& all) {
  Rows rows;
  for (const Compared& c : all)
    for (const ComparedTraining& t : c.trainings) {
      const std::string csv = read_file(t.folder / "metrics.csv");
      const std::vector<Session> sessions = read_sessions(t.folder / "run.json");
      const double seconds = seconds_of(sessions, last_time(csv));
      const Curve steps = csv_curve(csv, "step", "step");
      rows.push_back({t.label, steps.x.empty() ? "-" : fmt::format("{:.0f}", steps.x.back()), std::isfinite(seconds) ? duration_text(seconds) : "-",
                      sessions.empty() ? "" : machine_text(sessions.back()), sessions.empty() ? "" : build_text(sessions.back()), t.folder.string()});
    }
  page.heading("Trainings");
  page.table({"training", "steps", "time", "machine", "build", "folder"}, rows);
}

}  // namespace

std::string comparison_page(const std::vector<std::string>& folders) {
  const std::vector<Compared> all = find_compared(folders);
  std::string title = "Comparison of";
  for (const Compared& c : all) title += (&c == &all.front() ? " " : ", ") + c.label;
  HtmlReport page(title, fmt::format("written {}", local_time_text()));
  add_compared_samples(page, all);
  add_compared_scores(page, all);
  add_settings(page, all);
  add_compared_curves(page, all);
  add_trainings(page, all);
  return page.html();
}

int run_compare(CompareCommand& command, Context& context) {
  const fs::path out = command.out;
  if (fs::is_directory(out)) throw ConfigError(fmt::format("--out {}: is a folder; name the page that is written: --out comparison.html", command.out));
  if (out.extension() != ".html") throw ConfigError(fmt::format("--out {}: the name of the page must end in .html, as in --out comparison.html", command.out));
  write_atomically(out, comparison_page(command.folders));
  context.log.info("comparison: {}", out.string());
  return exit_code::finished;
}

}  // namespace fm
