// Parses argv into a command, launch options and config values. Parsing, help and shell completion read the same two
// tables, the launch options below and the config's fields.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/program.h"

namespace fm {

struct LaunchOption {
  std::string flags;  // "-q,--quiet"
  std::string value;  // "FILE", "auto|PATH|never"; empty: the option takes no value
  std::string help;
  std::string env;  // environment variable with the same meaning; empty: none
  std::function<void(const std::string&)> set;
  bool once = false;  // true: two different values are an error; false: the last value counts
  bool basic = false; // true: -h lists it too; false: only --help does
};

struct ParsedLine {
  const Command* command = nullptr;  // nullptr: only help or version was requested, or nothing
  Launch launch;
  std::vector<Assignment> assignments;  // in the order they were written
  enum class Help { none, basic, all } help = Help::none;
  bool version = false;
  std::string completion;               // the shell of a requested completion script
};

// The table of launch options of a command; setting one writes into `line`.
std::vector<LaunchOption> launch_options(const CommandInfo& command, ParsedLine& line);

std::string with_dashes(std::string name);  // "loop.log_every" -> "loop.log-every"

// The names of each field on the command line, without dashes in front: first its path ("model.patch-size"), then its short name and
// its last part, when no other field and no launch option has them.
std::vector<std::vector<std::string>> flag_names(const std::vector<Field>& fields, const std::vector<LaunchOption>& options);

// Throws ConfigError for any unknown argument, naming the nearest flag or command.
ParsedLine parse_command_line(const Program& program, const std::vector<std::string>& arguments);

// Whether arguments without a flag are the values of this field, which is then a list of texts that the help shows as "DIR ...". An argument with a
// comma is split there, as in every list.
bool takes_operands(const Field& field);

// Arguments that need no command before them.
inline constexpr std::string_view without_command[] = {"-h", "--help", "--version", "--completion"};

std::string usage_text(const Program& program);                                                   // a few lines
std::string program_help(const Program& program, ParsedLine::Help help);                          // the commands; for Help::all also exit codes and examples
// Returns the command's most used flags and an example. For Help::all: every flag, by groups, the exit codes and all examples.
std::string command_help(const Program& program, const Command& command, ParsedLine::Help help);

// Whether --help lists a field of the command, and completion offers it.
bool is_listed(const Field& field, const CommandInfo& info);

// The value placeholder of a field in the help: "INT", "jvp|fd", "FILE", "WORD,..."; empty for a bool.
std::string value_text(const Field& field);

// A script that completes commands, flags, their values and files; `shell`: bash or zsh.
std::string completion_script(const Program& program, const std::string& shell);

}  // namespace fm
