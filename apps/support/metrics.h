// What a run measures, in three files at once: metrics.csv (spreadsheets, report), metrics.jsonl (scripts), events.out.tfevents.*
// (TensorBoard). Every file holds the same rows; a row is a step, the wall time and named numbers.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/support/event_file.h"

namespace fm {

class Metrics {
 public:
  struct Formats {
    bool csv = true, jsonl = true, tensorboard = true;
  };

  // Opens the files in `folder` for appending; a last row that a killed process left half-written is dropped. Throws FileError.
  explicit Metrics(std::filesystem::path folder);
  Metrics(std::filesystem::path folder, Formats formats);

  // metrics.log(step, {{"loss", x}, {"grad_norm", g}}). Names may change from step to step; a new one adds a CSV column.
  void log(int64_t step, const std::vector<Metric>& metrics);

  // A PNG for TensorBoard's image page.
  void image(int64_t step, std::string_view tag, int64_t width, int64_t height, std::string_view png);

  // On resume: forgets everything after this step, in all three files.
  void truncate_after(int64_t step);

 private:
  struct Close {
    void operator()(FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<FILE, Close>;

  void open_all();
  void keep_csv_up_to(int64_t step);
  void keep_jsonl_up_to(int64_t step);
  void keep_events_up_to(int64_t step);
  void add_columns(const std::vector<Metric>& metrics);
  void append(File& file, std::string_view bytes);

  std::filesystem::path folder_, events_path_;
  Formats formats_;
  std::vector<std::string> columns_;  // of the CSV, after step and time
  File csv_, jsonl_, events_;
};

}  // namespace fm
