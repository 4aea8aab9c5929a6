#include "nn/training/trace.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "tensor/io/atomic_file.h"

namespace fm {

double Trace::now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void Trace::span(Row row, const std::string& name, double begin, double end) {
  const std::lock_guard lock(mutex_);
  spans_.push_back({row, name, begin, end});
}

// The Trace Event Format: "X" is a span, ts and dur in microseconds; "M" names a row.
void Trace::write(const std::filesystem::path& file, int rank) const {
  const std::lock_guard lock(mutex_);
  double start = spans_.empty() ? 0 : spans_.front().begin;
  for (const Span& s : spans_) start = std::min(start, s.begin);
  auto events = nlohmann::ordered_json::array();
  for (const auto& [row, name] : {std::pair{Row::compute, "compute"}, {Row::communicate, "communicate"}})
    events.push_back({{"ph", "M"}, {"name", "thread_name"}, {"pid", rank}, {"tid", static_cast<int>(row)}, {"args", {{"name", name}}}});  // fits: an enum
  for (const Span& s : spans_)
    events.push_back({{"ph", "X"}, {"name", s.name}, {"pid", rank}, {"tid", static_cast<int>(s.row)}, {"ts", 1e6 * (s.begin - start)},  // fits: an enumerator
                      {"dur", 1e6 * (s.end - s.begin)}});
  write_atomically(file, nlohmann::ordered_json{{"traceEvents", events}}.dump(1) + "\n");
}

}  // namespace fm
