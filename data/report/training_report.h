// report.html of a training, from the files in its folder: sample grids, curves of all columns of metrics.csv (metric_plot.h), config.toml, and
// the sessions of run.json in words. A file that does not exist is left out. The training writes the page anew at each checkpoint. The
// page links to the report of the whole run if the folder above contains one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/report/html.h"
#include "data/report/sessions.h"

namespace fm {

// Writes folder/report.html. `extra` may add content that only the program has (tables of results), after the samples. FileError if a file cannot be
// read or written.
void write_training_report(const std::filesystem::path& folder, const std::string& title, const std::function<void(HtmlReport&)>& extra = {});

// Adds the machine, the build and the command line of a session.
void add_session(HtmlReport& report, const Session& session);

// A paragraph that explains the lines and bands of metric_plot for this metrics.csv.
std::string curves_text(const std::string& csv);

// The time of the last row of a metrics.csv, in seconds since 1970; NaN if it has none.
double last_time(const std::string& csv);

}  // namespace fm
