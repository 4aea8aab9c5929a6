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

// How a training went, from its metrics.csv. A number is NaN if the file lacks its column.
struct Course {
  // Norm of the gradients before clipping: its median over the lines of the log, its largest value over all steps.
  double median_norm = Score::none, largest_norm = Score::none;
  double raw_mse = Score::none;          // mean square of the residual before the metric, averaged over the last tenth of the log's lines
};

// The metrics.csv of one part of a training. The file counts steps from the beginning of the part.
struct MetricsFile {
  std::filesystem::path path;
  std::int64_t steps_before = 0;         // number of steps in the part before this one; 0: none
};
inline constexpr const char* first_part = "first";                   // the folder of the first part, if a training has two

// Returns a column over the steps of the whole training; empty if no file has the column.
Curve column_of(const std::vector<MetricsFile>& files, const std::string& column);
Course course_of(const std::vector<MetricsFile>& files);

// One training of one variant.
struct Trial {
  std::size_t variant = 0;               // index into Findings::variants
  std::int64_t seed = 0;
  std::string folder;                    // the folder of its weights, a path inside the run; empty: nothing was trained
  std::optional<StepCost> cost = {};
  bool diverged = false;                 // whether the training diverged
  Course course = {};
  std::vector<Score> scores = {};        // one for each number of calls; none when it diverged
  std::vector<double> own = {};          // the values of Findings::own_columns, in their order
};

// Samples of the flow maps of one seed, in the first number of calls that is scored.
struct Shown {
  std::vector<Figure> samples, trajectories;                         // plots of points in the plane
  std::vector<PlotGroup> curves;                                     // curves of other samples that are not images; a group shows a few variants
  std::string grid;                                                  // PNG: images of all variants from the same noise; empty if samples are not images
};

// A row of the table that is not a variant, for comparison. The row shows its only score for every number of calls.
struct Level {
  std::string name, note;
  Score score;
};

struct Findings {
  std::string what, subtitle;
  std::vector<Variant> variants;
  std::vector<Trial> trials;
  bool in_plane = false;                 // samples are points of the plane, which have their own scores
  std::vector<int> calls;                // numbers of network calls with which flow maps are scored; empty: no scores
  Shown shown = {};
  std::vector<Score> teacher = {};       // scores of the run's teacher in as many steps as `calls` (with guidance a step takes two calls); may be empty
  bool guided_teacher = false;
  std::vector<TableColumn> own_columns = {};
  std::vector<Level> levels = {};
  std::string note = {};                 // remark on the row of every variant; may be empty
  std::string busy;                      // how busy the machine was during the timing: busy_line (busy.h)
};

// Returns the trials of the variant with this index, in the order of seeds.
std::vector<const Trial*> trials_of(const Findings& findings, std::size_t variant);

// Returns the order in which --jobs trains the trials, as indices into Findings::trials: seed by seed, so that a stopped comparison has complete
// seeds. Within a seed the longest training comes first, so that no single process runs long after the others. All trials must have costs and be listed
// seed by seed.
std::vector<std::size_t> training_order(const Findings& findings);
std::vector<MetricsFile> metrics_of(const std::filesystem::path& run, const Variant& v, const Trial& t);
std::string text_if_there(const std::filesystem::path& file);        // "" if the file does not exist

Table table_of(const Findings& findings);

// Returns a CSV with one row for each trial and number of calls: variant, seed, steps, folder, outcome, costs, course, and all columns of the score.
std::string trials_csv(const Findings& findings);

// `run`: the run's folder, which contains the trials' folders and so their curves.
std::string report_html(const Findings& findings, const Table& table, const std::filesystem::path& run);

}  // namespace fm
