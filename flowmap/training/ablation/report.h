// The findings of an ablation as a table of means and deviations, as a list of trials, and as a page with plots.
#pragma once

#include <filesystem>

#include "data/report/html.h"
#include "data/report/svg_plot.h"
#include "data/report/table.h"
#include "flowmap/training/ablation/measure.h"
#include "flowmap/training/chain/score.h"
#include "flowmap/training/sample_curves.h"

namespace fm {

// How a training went, from its metrics.csv. NaN where it says nothing.
struct Course {
  double median_norm = Score::none, largest_norm = Score::none;      // of the gradients, before clipping: over the lines of the log, over all steps
  double raw_mse = Score::none;          // mean square before the metric: the mean over the last tenth of the lines
};

// The metrics of a training, a file for each of its parts, which counts its own steps.
struct MetricsFile {
  std::filesystem::path path;
  std::int64_t steps_before = 0;
};
inline constexpr const char* first_part = "first";                   // the folder of a training's first part, where it has two

// A column over the steps of the whole training; empty where no file has it.
Curve column_of(const std::vector<MetricsFile>& files, const std::string& column);
Course course_of(const std::vector<MetricsFile>& files);

// One training of one variant.
struct Trial {
  std::size_t variant = 0;               // in the list
  std::int64_t seed = 0;
  std::string folder;                    // of its weights, inside the run; empty: nothing was trained
  std::optional<StepCost> cost = {};
  bool diverged = false;                 // the training
  Course course = {};
  std::vector<Score> scores = {};        // one for each number of calls; none when it diverged
  std::vector<double> own = {};          // what this comparison alone measures, in the order of Findings::own_columns
};

// What one seed's flow maps make in the fewest calls that were scored.
struct Shown {
  std::vector<Figure> samples, trajectories;                         // of points in the plane
  std::vector<PlotGroup> curves;                                     // of samples that are no pictures, a few variants together
  std::vector<std::pair<std::string, std::filesystem::path>> grids;  // of pictures: variant and PNG
};

// A row for comparison that no variant trained: one score, whatever the number of calls.
struct Level {
  std::string name, note;
  Score score;
};

struct Findings {
  std::string what, subtitle;
  std::vector<Variant> variants;
  std::vector<Trial> trials;
  bool in_plane = false;                 // samples are points of the plane, with scores of their own
  std::vector<int> calls;                // network calls of the flow map that were scored; empty: none
  Shown shown = {};
  std::vector<Score> teacher = {};       // of the run, in as many calls (two each with guidance), for comparison; may be empty
  bool guided_teacher = false;
  std::vector<TableColumn> own_columns = {};
  std::vector<Level> levels = {};
  std::string note = {};                 // on every variant's row; may be empty
  std::string busy;                      // what the machine did while times were taken
};

// Of the variant of this number, in the order of seeds.
std::vector<const Trial*> trials_of(const Findings& findings, std::size_t variant);

// Trials by number, as --jobs trains them: seed by seed, so that a comparison that is stopped has whole seeds; of each the longest first, so that no
// process is left alone with one at the end. All trials have costs and are listed seed by seed.
std::vector<std::size_t> training_order(const Findings& findings);
std::vector<MetricsFile> metrics_of(const std::filesystem::path& run, const Variant& v, const Trial& t);
std::string text_if_there(const std::filesystem::path& file);        // empty where there is no such file

Table table_of(const Findings& findings);

// A row a trial and number of calls: variant, seed, folder, steps, costs, and all columns of a score, what it is of included.
std::string trials_csv(const Findings& findings);

// `run`: where the trials' folders lie, for their curves.
std::string report_html(const Findings& findings, const Table& table, const std::filesystem::path& run);

}  // namespace fm
