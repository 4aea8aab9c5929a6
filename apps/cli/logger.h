// Messages to stderr and to log.txt. On a terminal one status line can stay below the messages and is redrawn in place. A message that cannot
// be written is dropped: a closed terminal, or a full disk under log.txt, does not stop a training. Only mirror_to() throws.
#pragma once

#include <cstdio>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

#include "nn/training/messages.h"
#include "tensor/io/append_file.h"

namespace fm {

class Logger : public Messages {
 public:
  explicit Logger(FILE* terminal = stderr);
  ~Logger() override;
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  void set_level(Level level) { level_ = level; }
  Level level() const { return level_; }
  void set_prefix(std::string text) { prefix_ = std::move(text); }  // at the start of every line on the terminal
  bool on_terminal() const { return on_terminal_; }
  size_t columns() const;  // of the terminal; 80 if unknown

  // Appends every later message with its time to this file too, even if the terminal does not show it. Throws FileError.
  void mirror_to(const std::filesystem::path& file);

  void message(Level level, std::string_view text) override;
  void record(std::string_view text);  // to log.txt only
  void status(std::string_view line) override;  // writes the line in place; nothing when not on a terminal
  void end_status() override;                   // keeps the last status line on screen and continues below it

 private:
  void erase_status();
  void draw_status();
  void show(Level level, std::string_view text);
  void write_record(Level level, std::string_view text);

  FILE* terminal_;
  AppendFile file_;                     // log.txt
  bool file_failed_ = false;            // already reported
  bool on_terminal_;
  Level level_ = Level::info;
  std::string status_, prefix_;
  std::mutex mutex_;
};

}  // namespace fm
