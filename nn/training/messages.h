// Messages of long work to a person. A program derives its own class (a log file, a status line); StderrMessages is enough for others.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace fm {

class Messages {
 public:
  enum class Level { error, warning, info, detail };  // a verbosity shows its level and all before it

  virtual ~Messages() = default;

  virtual void message(Level level, std::string_view text) = 0;
  virtual void status(std::string_view line) { (void)line; }  // how far the work is: the next line replaces it
  virtual void end_status() {}                                // the work of the status line is over

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
