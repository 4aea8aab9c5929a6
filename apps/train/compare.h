// `flowmap_train compare`: one page of several runs, stages or variants of ablations.
#pragma once

#include "apps/cli/program.h"

namespace fm {

struct CompareCommand {
  std::vector<std::string> folders;
  std::string out = "comparison.html";
  template <class V> void visit(V&& v) {
    v("folders", folders, "folders to compare: runs, stages of runs, or variants of ablations; the flag itself may be left out",
      flag("folders"), value_as("DIR ..."), basic());
    v("out", out, "file for the page; its name ends in .html", flag("out"), value_as("FILE"), basic());
  }
};

// Writes the page of these folders. ConfigError for a page that is a folder or whose name does not end in .html; also the errors of compared.h.
int run_compare(CompareCommand& command, Context& context);

// The page as HTML: curves in common plots, samples beside each other, scores, settings that differ, machines.
std::string comparison_page(const std::vector<std::string>& folders);

}  // namespace fm
