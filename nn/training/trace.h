// A drawing of one step for chrome://tracing and ui.perfetto.dev: spans of time on a row for each thread.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace fm {

class Trace {
 public:
  enum class Row { compute, communicate };
  // Seconds on the steady clock. Any thread.
  void span(Row row, const std::string& name, double begin, double end);
  // Writes JSON; times count from the first span. Throws FileError.
  void write(const std::filesystem::path& file, int rank) const;

  static double now();

  // Covers the time from its construction to its destruction; no effect without a trace.
  class Scope {
   public:
    Scope(Trace* trace, std::string name) : trace_(trace), name_(std::move(name)), begin_(now()) {}
    ~Scope() {
      if (trace_) trace_->span(Row::compute, name_, begin_, now());
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Trace* trace_;
    std::string name_;
    double begin_;
  };

 private:
  struct Span {
    Row row;
    std::string name;
    double begin, end;
  };
  mutable std::mutex mutex_;
  std::vector<Span> spans_;
};

}  // namespace fm
