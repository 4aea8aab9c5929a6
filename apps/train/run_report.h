// report.html of a run: samples side by side, the table of scores, the curves of every stage. Written anew from the files of the run
// whenever one of them changes, so that it says what they say.
#pragma once

#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// Draws samples.png: one block a generator, one column a class (of many classes some), the same noise in every block.
void write_comparison_grid(TrainingRun& run);

// Writes report.html from samples.png, or the section in its place where samples are no pictures (samples_page.h), these scores (newest_scores of all) and the stages' metrics.csv and config.toml, those that exist.
// `pictures`: a section of another report in their place, of a run whose samples are no pictures.
void write_run_report(const TrainingRun& run, const std::vector<Score>& all, const std::string& pictures = "");

// Adds to scores.csv and writes the report under the same lock. No scores: the report alone.
void publish_scores(const TrainingRun& run, const std::vector<Score>& scores, const std::string& pictures = "");

}  // namespace fm
