// The trainings of a run in its report: a table of stages, their telling curves, machine and command line, from the files in the stages' folders.
#pragma once

#include <filesystem>

#include "data/report/html.h"

namespace fm {

// Nothing where no stage was trained in `root`.
void add_stages(HtmlReport& report, const std::filesystem::path& root);

// report.html of each stage in `root` that has one, written again: with the end of its session and a link to the run's report, which exists by now. FileError.
void renew_stage_reports(const std::filesystem::path& root);

}  // namespace fm
