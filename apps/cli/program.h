// A program is a table of commands, each with a config and a function. Flags, config files, --help and exit codes follow from
// the table.
//
//   int train(TrainConfig& config, Context& context);
//   int main(int argc, char** argv) {
//     Program program{.name = "flowmap_train", .summary = "Trains flow maps.", .quickstart = "flowmap_train --out runs/q"};
//     program.add<TrainConfig>({.name = "train", .help = "train a model", .trains = true}, train);
//     return run_program(program, argc, argv);
//   }
//
// Values are applied in this order, later ones win: defaults, --config (or, without it, the config of the run in --out), then --set and --key in the
// order of the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/logger.h"
#include "flowmap/training/chain/run_context.h"
#include "nn/config/visit.h"

namespace fm {

// Exit codes, the same for every program and listed by every --help.
namespace exit_code {
inline constexpr int finished = 0;
inline constexpr int failed = 1;          // runtime failure
inline constexpr int usage = 2;           // flags or config
inline constexpr int unreadable = 3;      // data or checkpoint
inline constexpr int diverged = 4;        // a loss or gradient that is not finite
inline constexpr int stopped_early = 75;  // sysexits' "try again": a checkpoint is saved, the same command resumes from it
inline constexpr int rank_lost = 76;      // another rank ended or cannot be reached; the same command resumes from the last checkpoint
}  // namespace exit_code

// A task and its command line: "sample a grid", "flowmap_sample --checkpoint runs/q --count 64".
struct Example {
  std::string task, command_line;
};

// Options about how and where to run. None of them is in config.toml.
struct Launch : RunOptions, RankOptions {
  double max_time = 0;          // seconds, 0: no limit
  std::int64_t threads = 0;     // 0: OpenMP's default
  double rank_timeout = 15;     // seconds of silence after which a rank is lost
  int verbosity = 0;            // below 0 quiet, above 0 verbose
};

// One `key = text` from the command line; `where` is the flag that gives the value.
struct Assignment {
  std::string key, text, where;
};

// The arguments of a command's function besides its config.
struct Context {
  std::string program, command;
  std::vector<std::string> command_line;  // as typed
  Launch launch;
  std::vector<Field> fields;  // of the resolved config, for config.toml and the checkpoint's JSON
  Logger& log;
  Ranks& ranks;               // the processes that run this command together
  std::vector<Assignment> assignments = {};  // the values of the config that the command line gives, in the order they were written
};

struct CommandInfo {
  std::string name, help;
  bool trains = false;     // takes --dry-run, --resume, --fresh, --init-from, --max-time
  bool has_folder = true;  // takes --out
  bool parallel = false;   // several processes (ranks) may run it together
  std::vector<Example> examples;
  // Returns the config.toml of the run in this folder, which is read if --config is left out. An empty function: the command reads no such file.
  std::function<std::filesystem::path(const std::string& out)> own_config = {};
  // Keys and sections of the config ("seed", "mfd") that --help names together instead of listing their settings: the command does not read them,
  // or takes them from the run. `listed_by` is the help text that lists them.
  std::vector<std::string> unlisted = {};
  std::string listed_by = {};
};

struct Command {
  CommandInfo info;
  std::function<std::vector<Field>()> fields;  // fields of the command's own config object, at their defaults until flags are applied
  std::function<int(Context&)> run;
};

struct Program {
  std::string name, summary;
  std::string quickstart;              // the line to type first
  std::vector<Command> commands = {};  // a program without subcommands has one command, with an empty name
  std::string default_command = {};    // taken when the first argument is a flag

  template <class Config>
  void add(CommandInfo info, std::function<int(Config&, Context&)> run) {
    auto config = std::make_shared<Config>();
    commands.push_back({std::move(info), [config] { return list_fields(*config); },
                        [config, run = std::move(run)](Context& context) { return run(*config, context); }});
  }
};

// Parses, resolves, runs. Prints one line on stderr for any error and returns the exit code; throws nothing.
int run_program(const Program& program, int argc, const char* const* argv);

// Runs `body`; a typed error becomes one line on stderr and its exit code: ConfigError 2, FileError and filesystem_error 3,
// DivergedError 4, RankLostError 76, others 1. The line begins with the value that `program` has at the time of the error.
int guarded_main(const std::string& program, const std::function<int()>& body);

}  // namespace fm
