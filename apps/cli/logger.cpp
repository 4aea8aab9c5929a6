// Messages, the status line and log.txt.
#include "apps/cli/logger.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <utility>

#include "apps/cli/console.h"
#include "apps/cli/text.h"
#include "data/report/clock.h"
#include "tensor/error.h"

namespace fm {
namespace {

const char* prefix(Logger::Level level) {
  return level == Logger::Level::error ? "error: " : level == Logger::Level::warning ? "warning: " : "";
}

}  // namespace

Logger::Logger(FILE* terminal) : terminal_(terminal), on_terminal_(isatty(fileno(terminal)) != 0) {}

size_t Logger::columns() const {
  winsize size{};
  return ioctl(fileno(terminal_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

Logger::~Logger() {
  end_status();
}

void Logger::mirror_to(const std::filesystem::path& path) {
  AppendFile file(path);
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
  file_failed_ = false;
}

void Logger::message(Level level, std::string_view text) {
  const std::lock_guard lock(mutex_);
  write_record(level, text);
  if (level <= level_) show(level, text);
}

void Logger::show(Level level, std::string_view text) {
  erase_status();
  write_text(terminal_, fmt::format("{}{}{}\n", prefix_, prefix(level), text));
  draw_status();
}

void Logger::record(std::string_view text) {
  const std::lock_guard lock(mutex_);
  write_record(Level::info, text);
}

void Logger::status(std::string_view line) {
  if (!on_terminal_ || level_ < Level::info) return;
  const std::lock_guard lock(mutex_);
  erase_status();
  status_ = line;
  draw_status();
}

void Logger::end_status() {
  const std::lock_guard lock(mutex_);
  if (status_.empty()) return;
  std::fputc('\n', terminal_);
  status_.clear();
}

void Logger::erase_status() {
  if (!status_.empty()) std::fputs("\r\x1b[2K", terminal_);
}

void Logger::draw_status() {
  if (status_.empty()) return;
  // A line that wraps cannot be erased by a carriage return.
  write_text(terminal_, std::string_view(status_).substr(0, columns() - 1));
  std::fflush(terminal_);
}

void Logger::write_record(Level level, std::string_view text) {
  if (!file_) return;
  try {
    file_.append(fmt::format("{}  {}{}\n", local_time_text(), prefix(level), text));
  } catch (const FileError& e) {
    if (std::exchange(file_failed_, true) || level_ < Level::warning) return;
    show(Level::warning, fmt::format("{}: messages continue without it", e.what()));
  }
}

}  // namespace fm
