// The findings of an ablation as a table on the terminal, as CSV, and as a page with a plot.
#pragma once

#include "apps/ablate/measure.h"
#include "apps/train/evaluation.h"

namespace fm {

struct Finding {
  Variant variant;
  std::optional<StepCost> cost = {};     // where steps were measured
  bool diverged = false;                 // the training
  std::vector<Score> scores = {};        // one for each number of calls; none when it diverged
};

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};

Table table_of(const std::string& what, const std::vector<Finding>& findings, const std::vector<int>& calls);
std::string terminal_text(const Table& table);
std::string csv_text(const Table& table);

// The page; `subtitle` says what was measured. The plot stands in the one on derivatives.
std::string report_html(const std::string& subtitle, const std::string& what, const std::vector<Finding>& findings, const Table& table);

}  // namespace fm
