// The timeline of one step, for chrome://tracing and ui.perfetto.dev: time spans in two rows, one for computation and one for communication.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace fm {

class Trace {
 public:
  enum class Row { compute, communicate };
  // Adds a span. Times are seconds of the steady clock. May be called on any thread.
  void span(Row row, const std::string& name, double begin, double end);
  // Writes the timeline as JSON. Times count from the first span. Throws FileError.
  void write(const std::filesystem::path& file, int rank) const;

  static double now();

  // Adds a span from its construction to its destruction. No effect if `trace` is null.
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
