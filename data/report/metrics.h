// The metrics of a run, in three files at once: metrics.csv (spreadsheets, report), metrics.jsonl (scripts), events.out.tfevents.*
// (TensorBoard). Every file holds the same rows; a row is a step, the wall time and named numbers.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/append_file.h"
#include "data/report/event_file.h"

namespace fm {

// Which files a training writes beside log.txt, samples and checkpoints.
struct LogFiles {
  bool csv = true, jsonl = true, tensorboard = true;  // the files of Metrics
  bool html = true;                                   // report.html, whose curves are read from the CSV
};

// Parses a config's list of csv, jsonl, tb and html.
LogFiles log_files(const std::vector<std::string>& names);

class Metrics {
 public:
  // Opens the files in `folder` for appending; a last row that a killed process left half-written is dropped. Throws FileError.
  explicit Metrics(std::filesystem::path folder, LogFiles files = {});

  // metrics.log(step, {{"loss", x}, {"grad_norm", g}}). Names may change from step to step; a new one adds a CSV column.
  // Throws FileError if a file cannot be written (a full disk). Then the row is missing only in that file, and later rows may follow.
  void log(int64_t step, const std::vector<Metric>& metrics);

  // Sends a PNG file to TensorBoard's image page. Throws FileError if it cannot be read or is not a PNG.
  void image(int64_t step, std::string_view tag, const std::filesystem::path& png);

  // For a resume: removes all rows after this step from all three files, even from a file that only an earlier session wrote.
  void truncate_after(int64_t step);

 private:
  void open_all();
  void keep_csv_up_to(int64_t step);
  void keep_jsonl_up_to(int64_t step);
  void keep_events_up_to(int64_t step);
  void add_columns(const std::vector<Metric>& metrics);
  void add_csv_row(int64_t step, double now, const std::vector<Metric>& metrics);
  void add_json_row(int64_t step, double now, const std::vector<Metric>& metrics);

  std::filesystem::path folder_, events_path_;
  LogFiles files_;
  std::vector<std::string> columns_;  // of the CSV, after step and time
  AppendFile csv_, jsonl_, events_;
};

}  // namespace fm
