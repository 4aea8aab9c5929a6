// The commands of all programs, and the entries of their help texts.
#pragma once

#include <sstream>

#include "tests/apps/tiny_run.h"

namespace fm::test {

inline const std::vector<std::string> commands{
    "flowmap_train pipeline", "flowmap_train init", "flowmap_train compare", "flowmap_train judge", "flowmap_train encoder", "flowmap_train decoder", "flowmap_train encode",
    "flowmap_train stats", "flowmap_train fm", "flowmap_train cmt", "flowmap_train mfd", "flowmap_train mft", "flowmap_train map", "flowmap_sample",
    "evaluate run", "evaluate pictures", "ablate", "inspect", "convert"};

inline fs::path program_file(const std::string& command) { return own_folder().parent_path() / "apps" / command.substr(0, command.find(' ')); }

// Runs the command with these arguments only.
inline Result bare(const std::string& command, const Arguments& more) {
  std::istringstream words(command);
  std::string program, stage;
  words >> program >> stage;
  const Arguments first = stage.empty() ? Arguments{} : Arguments{stage};
  return run_program_file(program_file(command), first + more);
}

struct Entry {
  std::string flag, kind;          // "--fm.loop.steps", "INT"
  std::vector<std::string> names;  // all flags of the entry
  std::string text;                // the whole entry in one line
  std::string help;                // the text after flags and kind
};

// The entries of a help text. An entry is two spaces, the flags, two or more spaces and the text; its further lines are indented deeper.
inline std::vector<Entry> entries(const std::string& help) {
  std::vector<std::string> lines;
  std::istringstream in(help);
  bool open = false;                                          // whether the next line may belong to an entry; any other line ends it
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("  -")) lines.push_back(line), open = true;
    else if (line.starts_with("   ") && open) lines.back() += line;
    else open = false;
  }
  std::vector<Entry> list;
  for (const std::string& line : lines) {
    const std::size_t end = std::min(line.find("  ", 2), line.size()), begin = std::min(line.find_first_not_of(' ', end), line.size());
    Entry e{"", "", {}, line, line.substr(begin)};
    std::istringstream words(line.substr(2, end - 2));
    for (std::string word; words >> word;) {
      if (!word.starts_with("-")) e.kind = word;
      std::istringstream flags(word.starts_with("-") ? word : "");
      for (std::string flag; std::getline(flags, flag, ',');) e.names.push_back(flag);
    }
    for (const std::string& name : e.names)
      if (e.flag.empty() && name.starts_with("--")) e.flag = name;
    list.push_back(e);
  }
  return list;
}

}  // namespace fm::test
