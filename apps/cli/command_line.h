// From argv to choices: which command, which launch options, which config values. Parsing and help read the same two tables, the
// launch options below and the config's fields.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/program.h"

namespace fm {

struct LaunchOption {
  std::string flags;  // "-q,--quiet"
  std::string value;  // "FILE"; empty: takes none
  std::string help;
  std::string env;  // environment variable with the same meaning; empty: none
  std::function<void(const std::string&)> set;
  bool once = false;  // another value for it is an error; else the last one counts
};

// One `key = text` from the command line; `where` is the flag it came by.
struct Assignment {
  std::string key, text, where;
};

struct ParsedLine {
  const Command* command = nullptr;  // nullptr: only help, version or nothing was asked for
  Launch launch;
  std::vector<Assignment> assignments;  // in the order they were written
  bool help = false, version = false;
};

// The table of launch options of a command; setting one writes into `line`.
std::vector<LaunchOption> launch_options(const CommandInfo& command, ParsedLine& line);

// The names of each field on the command line, without dashes in front: first its path ("model.patch-size"), then its short name and
// its last part, when no other field and no launch option has them.
std::vector<std::vector<std::string>> flag_names(const std::vector<Field>& fields, const std::vector<LaunchOption>& options);

// Throws ConfigError for anything it does not know, naming the nearest flag or command.
ParsedLine parse_command_line(const Program& program, const std::vector<std::string>& arguments);

std::string usage_text(const Program& program);                            // a few lines
std::string program_help(const Program& program);                          // commands, exit codes, examples
std::string command_help(const Program& program, const Command& command);  // every flag

}  // namespace fm
