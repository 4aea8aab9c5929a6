// report.html of a run, from what lies in its folder: curves of all metrics, the newest sample grid, the config, the machine. Written
// anew at each checkpoint.
#pragma once

#include <functional>
#include <string>

#include "apps/support/run_folder.h"
#include "data/report/html.h"

namespace fm {

// `extra` may add what only the program knows (tables of results); it comes after the samples.
void write_training_report(const RunFolder& folder, const std::string& title, const std::function<void(HtmlReport&)>& extra = {});

}  // namespace fm
