// Accuracy by class in the report of a run.
#pragma once

#include "data/report/html.h"
#include "flowmap/training/chain/score.h"

namespace fm {

// Adds a table with one row for each class and one column for each score that has classes (Score::by_class). Of more than 20 classes it shows the 20 with
// the lowest accuracy in the last column. Adds nothing if no score has classes.
void add_class_scores(HtmlReport& report, const std::vector<Score>& scores);

}  // namespace fm
