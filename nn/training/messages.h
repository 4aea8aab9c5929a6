// Messages to the user of a long computation. A program may derive its own class (for a log file or a status line), or use StderrMessages.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace fm {

class Messages {
 public:
  enum class Level { error, warning, info, detail };  // a verbosity shows its own level and those before it

  virtual ~Messages() = default;

  virtual void message(Level level, std::string_view text) = 0;
  virtual void status(std::string_view line) { (void)line; }  // progress; the next status line replaces it
  virtual void end_status() {}                                // the work that the status line reports has ended

  template <class... Args> void error(fmt::format_string<Args...> text, Args&&... args) {
    message(Level::error, fmt::format(text, std::forward<Args>(args)...));
  }
  template <class... Args> void warning(fmt::format_string<Args...> text, Args&&... args) {
    message(Level::warning, fmt::format(text, std::forward<Args>(args)...));
  }
  template <class... Args> void info(fmt::format_string<Args...> text, Args&&... args) {
    message(Level::info, fmt::format(text, std::forward<Args>(args)...));
  }
  template <class... Args> void detail(fmt::format_string<Args...> text, Args&&... args) {
    message(Level::detail, fmt::format(text, std::forward<Args>(args)...));
  }
};

// Each message as a line on stderr, without details. A line that cannot be written is lost.
class StderrMessages : public Messages {
 public:
  void message(Level level, std::string_view text) override {
    if (level != Level::detail) std::fputs((std::string(text) + "\n").c_str(), stderr);
  }
};

}  // namespace fm
