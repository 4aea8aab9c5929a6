// `flowmap_train compare`: one page of several runs, stages or variants of ablations.
#pragma once

#include "apps/cli/program.h"

namespace fm {

struct CompareCommand {
  std::vector<std::string> folders;
  std::string out = "comparison.html";
  template <class V> void visit(V&& v) {
    v("folders", folders, "folders that are compared, with or without this flag: runs, stages in them, variants of ablations", flag("folders"), value_as("DIR ..."), basic());
    v("out", out, "page that is written; its name ends in .html", flag("out"), value_as("FILE"), basic());
  }
};

// Writes the page of these folders. ConfigError, FileError: compared.h; ConfigError for a page that is a folder or not named .html.
int run_compare(CompareCommand& command, Context& context);

// The page as HTML: curves over each other, samples beside each other, scores, settings that differ, machines.
std::string comparison_page(const std::vector<std::string>& folders);

}  // namespace fm
