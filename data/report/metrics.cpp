// Appending rows to CSV, JSON lines and TensorBoard events, and cutting them back on resume.
#include "data/report/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/report/clock.h"
#include "data/report/csv.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

std::string read_if_there(const fs::path& path) { return fs::is_regular_file(path) ? read_file(path) : std::string(); }

// The complete lines of a text. A last line without a line break is a half-written row and is left out.
std::vector<std::string_view> whole_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

// Step at the front of a CSV row; the largest integer if there is none (so that every cut drops a damaged row).
int64_t csv_step(std::string_view row) {
  int64_t step = 0;
  const auto [stop, error] = std::from_chars(row.data(), row.data() + row.size(), step);
  const bool good = error == std::errc() && stop != row.data() + row.size() && *stop == ',';
  return good ? step : std::numeric_limits<int64_t>::max();
}

int64_t json_step(std::string_view line) {
  const auto row = nlohmann::json::parse(line, nullptr, false);
  const bool good = row.is_object() && row.contains("step") && row["step"].is_number_integer();
  return good ? row["step"].get<int64_t>() : std::numeric_limits<int64_t>::max();
}

std::string csv_text(double x) { return fmt::format("{}", x); }

// Metric names become CSV headings without quoting: characters that need quotes are replaced.
std::string heading(std::string name) {
  for (char& c : name)
    if (c == ',' || c == '"' || c == '\n' || c == '\r') c = '_';
  return name;
}

void replace_when_changed(const fs::path& path, const std::string& before, std::string_view after) {
  if (before != after) write_atomically(path, after);
}

// Four bytes of a PNG's header.
int64_t big_endian(std::string_view bytes, size_t at) {
  int64_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | uint8_t(bytes[at + i]);
  return value;
}

constexpr int64_t everything = std::numeric_limits<int64_t>::max() - 1;

}  // namespace

LogFiles log_files(const std::vector<std::string>& names) {
  const auto wanted = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  return {.csv = wanted("csv"), .jsonl = wanted("jsonl"), .tensorboard = wanted("tb"), .html = wanted("html")};
}

Metrics::Metrics(fs::path folder, LogFiles files) : folder_(std::move(folder)), files_(files) {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    // There may be several files if the user copied some: the one with the last name is continued.
    if (name.rfind("events.out.tfevents.", 0) == 0 && entry.path() > events_path_) events_path_ = entry.path();
  }
  if (events_path_.empty()) {
    char host[256] = "host";
    gethostname(host, sizeof host - 1);
    events_path_ = folder_ / fmt::format("events.out.tfevents.{}.{}", int64_t(unix_seconds()), host);
  }
  truncate_after(everything);
}

void Metrics::truncate_after(int64_t step) {
  csv_ = {}, jsonl_ = {}, events_ = {};
  keep_csv_up_to(step);
  keep_jsonl_up_to(step);
  keep_events_up_to(step);
  open_all();
}

void Metrics::keep_csv_up_to(int64_t step) {
  const fs::path path = folder_ / "metrics.csv";
  const std::string before = read_if_there(path);
  std::string after;
  bool first = true;
  for (std::string_view line : whole_lines(before)) {
    if (!first && csv_step(line) > step) continue;
    after.append(line) += '\n';
    first = false;
  }
  replace_when_changed(path, before, after);
  columns_.clear();
  if (after.empty()) return;
  columns_ = csv_columns(after);
  columns_.erase(columns_.begin(), columns_.begin() + std::min<long>(2, long(columns_.size())));
}

void Metrics::keep_jsonl_up_to(int64_t step) {
  const fs::path path = folder_ / "metrics.jsonl";
  const std::string before = read_if_there(path);
  std::string after;
  for (std::string_view line : whole_lines(before))
    if (json_step(line) <= step) after.append(line) += '\n';
  replace_when_changed(path, before, after);
}

void Metrics::keep_events_up_to(int64_t step) {
  const std::string before = read_if_there(events_path_);
  replace_when_changed(events_path_, before, events_up_to(before, step));
}

void Metrics::open_all() {
  if (files_.csv) csv_ = AppendFile(folder_ / "metrics.csv");
  if (files_.jsonl) jsonl_ = AppendFile(folder_ / "metrics.jsonl");
  if (files_.tensorboard) events_ = AppendFile(events_path_);
}

// Writes the CSV anew with more columns; old rows get empty cells at their end.
void Metrics::add_columns(const std::vector<Metric>& metrics) {
  std::vector<std::string> wanted = columns_;
  for (const Metric& metric : metrics) {
    const std::string name = heading(metric.name);
    if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) wanted.push_back(name);
  }
  if (wanted.size() == columns_.size() && csv_.size() > 0) return;
  const fs::path path = folder_ / "metrics.csv";
  const std::string before = read_if_there(path);
  std::string after = fmt::format("step,time{}{}\n", wanted.empty() ? "" : ",", fmt::join(wanted, ","));
  bool first = true;
  for (std::string_view line : whole_lines(before)) {
    if (!first) after.append(line).append(wanted.size() - columns_.size(), ',') += '\n';
    first = false;
  }
  write_atomically(path, after);
  csv_ = AppendFile(path);
  columns_ = std::move(wanted);
}

void Metrics::add_csv_row(int64_t step, double now, const std::vector<Metric>& metrics) {
  add_columns(metrics);
  std::vector<std::string> cells(columns_.size());
  for (const Metric& metric : metrics)
    cells[size_t(std::find(columns_.begin(), columns_.end(), heading(metric.name)) - columns_.begin())] = csv_text(metric.value);
  csv_.append(fmt::format("{},{:.3f}{}{}\n", step, now, cells.empty() ? "" : ",", fmt::join(cells, ",")));
}

void Metrics::add_json_row(int64_t step, double now, const std::vector<Metric>& metrics) {
  nlohmann::ordered_json row{{"step", step}, {"time", std::round(now * 1000) / 1000}};
  for (const Metric& metric : metrics) row[metric.name] = metric.value;  // JSON has no nan or inf: they become null
  jsonl_.append(row.dump() + "\n");
}

namespace {

// The version comes first in an event file.
void append_event(AppendFile& file, const std::string& event) {
  if (file.size() == 0) file.append(event_record(version_event(unix_seconds())));
  file.append(event_record(event));
}

}  // namespace

void Metrics::log(int64_t step, const std::vector<Metric>& metrics) {
  const double now = unix_seconds();
  std::exception_ptr failed;
  const auto each = [&](const AppendFile& file, const auto& add) {
    if (file) try {
        add();
      } catch (const FileError&) {       // the other files are tried too
        failed = std::current_exception();
      }
  };
  each(csv_, [&] { add_csv_row(step, now, metrics); });
  each(jsonl_, [&] { add_json_row(step, now, metrics); });
  each(events_, [&] { append_event(events_, scalar_event(now, step, metrics)); });
  if (failed) std::rethrow_exception(failed);
}

void Metrics::image(int64_t step, std::string_view tag, const fs::path& png) {
  if (!events_) return;
  const std::string bytes = read_file(png);
  if (bytes.size() < 24 || bytes.compare(0, 8, "\x89PNG\r\n\x1a\n") != 0) throw FileError(png.string() + ": not a PNG file");
  append_event(events_, image_event(unix_seconds(), step, tag, big_endian(bytes, 16), big_endian(bytes, 20), bytes));
}

}  // namespace fm
