// report.html of a run: samples side by side, the table of scores, scores by class, time and telling curves of every stage, machine and command line.
// Written anew from the files of the run whenever one of them changes, so that it says what they say.
#pragma once

#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// Writes report.html from samples.png, or the section in its place where samples are no pictures (samples_page.h), these scores (newest_scores of all) and the stages' metrics.csv and config.toml, those that exist.
// The reports of the stages are written again with it: they link to it.
// `pictures`: a section of another report in their place, of a run whose samples are no pictures.
void write_run_report(const TrainingRun& run, const std::vector<Score>& all, const std::string& pictures = "");

// Adds to scores.csv and writes the report under the same lock. No scores: the report alone.
void publish_scores(const TrainingRun& run, const std::vector<Score>& scores, const std::string& pictures = "");

}  // namespace fm
