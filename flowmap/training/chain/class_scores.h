// Accuracy by class in the report of a run.
#pragma once

#include "data/report/html.h"
#include "flowmap/training/chain/score.h"

namespace fm {

// A row a class, a column a score that has classes (Score::by_class). Of many classes the 20 with the lowest accuracy in the last column. Nothing where no
// score has classes.
void add_class_scores(HtmlReport& report, const std::vector<Score>& scores);

}  // namespace fm
