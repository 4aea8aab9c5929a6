#include "apps/train/init.h"

#include <omp.h>

#include <algorithm>

#include "apps/cli/text.h"
#include "data/report/numbers.h"
#include "flowmap/training/setup/setup.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

std::string measured_text(const Estimate& e) {
  return fmt::format("measured on {} thread{} while {:.1f} processes of the machine ran or waited for a core (the row 'processor' estimates the time without them, on one thread)", omp_get_max_threads(),
                     omp_get_max_threads() == 1 ? "" : "s", e.load);
}

std::string head_of(const InitCommand& command, const Setup& setup, const std::string& next) {
  std::string out = fmt::format("Written by flowmap_train init --data {} --budget {} for\n{}.\nTo train, sample and score:\n{}\n\nEstimate, {}:\n", command.data, command.budget,
                                facts_text(setup.facts), next, measured_text(setup.estimate));
  for (const std::string& line : estimate_lines(setup.estimate)) out += line + "\n";
  return out;
}

}  // namespace

int run_init(InitCommand& command, Context& context) {
  if (command.data.empty()) throw ConfigError("--data is missing: give folder:PATH, a folder with one folder of images per class");
  if (context.launch.out.empty()) throw ConfigError("--out is missing: give the folder for the config");
  const std::filesystem::path out = context.launch.out, file = out / "config.toml";
  if (std::filesystem::exists(file)) throw ConfigError(fmt::format("{} exists, and init overwrites no file: remove it or give another --out", file.string()));
  const double budget = parse_duration(command.budget, "--budget");
  Logger& log = context.log;
  const DataFacts facts = look_at(command.data);
  log.info("data: {}", facts_text(facts));
  const SetupRequest request{.budget = budget, .side = command.size, .seed = command.seed, .rehearsals = out / "init-rehearsal"};
  const Setup setup = set_up(facts, request, log, context.ranks);
  for (const std::string& remark : setup.remarks) log.warning("{}", remark);

  const bool threads_given = std::any_of(context.command_line.begin(), context.command_line.end(), [](const std::string& a) { return a.starts_with("--threads"); });
  const std::string next = fmt::format("flowmap_train pipeline --config {} --out {}{}", file.string(), out.string(),
                                       threads_given ? fmt::format(" --threads {}", context.launch.threads) : "");
  std::filesystem::create_directories(out);
  write_atomically(file, config_text(head_of(command, setup, next), propose(facts, setup.choice)));
  log.info("estimate, {}:", measured_text(setup.estimate));
  for (const std::string& line : estimate_lines(setup.estimate)) log.info("  {}", line);
  log.info("written  {}", file.string());
  log.info("next     {}", next);
  return exit_code::finished;
}

}  // namespace fm
