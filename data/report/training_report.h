// report.html of a training, from the files in its folder: curves of all columns of metrics.csv, the newest sample grid, config.toml, and the last
// session of run.json. A file that does not exist is left out. Written anew at each checkpoint.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/report/html.h"

namespace fm {

// Writes folder/report.html. `extra` may add what only the program knows (tables of results); it comes after the samples. FileError.
void write_training_report(const std::filesystem::path& folder, const std::string& title, const std::function<void(HtmlReport&)>& extra = {});

}  // namespace fm
