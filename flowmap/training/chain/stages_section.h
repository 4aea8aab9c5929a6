// The section of a run's report about its trainings: a table of stages, their main curves, machine and command line. The section is made from the
// files in the stages' folders.
#pragma once

#include <filesystem>

#include "data/report/html.h"

namespace fm {

// Adds the section, or nothing if no stage was trained in `root`.
void add_stages(HtmlReport& report, const std::filesystem::path& root);

// Writes report.html again for each stage in `root` that has one. The new page has the end of the session, and a link to the run's report, which now exists.
// FileError if a file cannot be read or written.
void renew_stage_reports(const std::filesystem::path& root);

}  // namespace fm
