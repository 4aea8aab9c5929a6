// report.html of a run: samples side by side, the table of scores, scores by class, time and main curves of every stage, machine and command line.
// It is written anew whenever one of the run's files changes.
#pragma once

#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// Writes report.html from the newest scores of `all` and from the files that exist: samples.png, the page of samples (samples_page.h), metrics.csv and
// config.toml of the stages. Also renews the reports of the stages, which link to it.
// `pictures`: for a run whose samples are not images, a section of another report that replaces samples.png and the page of samples.
void write_run_report(const TrainingRun& run, const std::vector<Score>& all, const std::string& pictures = "");

// Adds the scores to scores.csv, and writes the report under the same lock. Without scores, only writes the report.
void publish_scores(const TrainingRun& run, const std::vector<Score>& scores, const std::string& pictures = "");

}  // namespace fm
