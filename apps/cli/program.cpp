// Runs a program from its arguments to its exit code.
#include "apps/cli/program.h"

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <system_error>
#include <thread>

#include "apps/cli/build_info.h"
#include "apps/cli/command_line.h"
#include "apps/cli/console.h"
#include "apps/cli/text.h"
#include "apps/cli/toml.h"
#include "apps/run/signals.h"
#include "apps/run/threads.h"
#include "data/report/numbers.h"
#include "nn/config/removed_options.h"
#include "nn/training/ranks.h"
#include "tensor/collectives/nccl.h"
#include "tensor/error.h"
#include "tensor/narrow.h"
#ifdef FM_HAVE_MPI
#include "tensor/collectives/mpi.h"
#endif

namespace fm {
namespace {

void refuse_removed(const std::vector<Field>& fields, const std::string& key, const std::string& where) {
  const RemovedOption* removed = removed_option(key);
  if (removed && std::none_of(fields.begin(), fields.end(), [&](const Field& f) { return f.path == key; }))
    throw ConfigError(fmt::format("{}: {} was removed: {}; leave it out", where, key, removed->why));
}

// The config of the run in --out, for commands without --config. Keys that this build does not have are skipped
// with a warning: another version wrote them.
std::string load_own_config(const ParsedLine& line, const std::vector<Field>& fields, Logger& log) {
  const Launch& launch = line.launch;
  if (!launch.config_file.empty() || launch.out.empty() || !line.command->info.own_config) return {};
  const std::filesystem::path file = line.command->info.own_config(launch.out);
  if (file.empty()) return {};
  load_toml_file(fields, file, [&](const std::string& unknown) { log.warning("{}; left out", unknown); });
  log.info("config: {}, the run's own (no --config is given)", file.string());
  return file.string();
}

// defaults < config file < flags. Commands that train report the values set by flags (a wrong value costs hours); others do with -v.
// Returns the path of the run's own config file if it was read, else an empty string.
std::string resolve(const ParsedLine& line, const std::vector<Field>& fields, Logger& log) {
  const std::string own = load_own_config(line, fields, log);
  if (!line.launch.config_file.empty()) load_toml_file(fields, line.launch.config_file);
  std::vector<std::string> overrides;
  for (const auto& [key, text, where] : line.assignments) {
    refuse_removed(fields, key, where);
    const Field& field = find_field(fields, key, where);
    set_from_text(field, text, where);
    overrides.push_back(fmt::format("{} = {} ({})", key, to_text(field), where));
  }
  check_rules(fields, "config");
  const auto level = line.command->info.trains ? Logger::Level::info : Logger::Level::detail;
  for (const std::string& override : overrides) log.message(level, override);
  return own;
}

void check_launch(const Launch& launch) {
  const bool resumes_path = launch.resume != "auto" && launch.resume != "never";
  if (launch.fresh && resumes_path) throw ConfigError("--fresh and --resume PATH contradict each other: give one");
  if (!launch.init_from.empty() && resumes_path)
    throw ConfigError("--init-from begins a new run and --resume PATH continues one: give one");
}

std::string version_text(const Program& program) {
  const BuildInfo& build = build_info();
  return fmt::format("{} {} (git {})\n{}, {}\n", program.name, build.version, build.git, build.compiler, build.flags);
}

// Divides the cores of a machine among its ranks. A number of threads in OMP_NUM_THREADS stays, and so do the cores that a launcher has bound.
void share_cores(const RankPlace& place) {
  if (place.local_size == 1 || std::getenv("OMP_NUM_THREADS")) return;
  const int cores = narrow<int>(std::thread::hardware_concurrency());
  omp_set_num_threads(std::min(omp_get_num_procs(), std::max(1, cores / place.local_size)));
}

#ifdef FM_HAVE_MPI
constexpr bool have_mpi = true;
std::unique_ptr<Channel> open_mpi(int rank, int size) { return open_mpi_channel(rank, size); }
#else
constexpr bool have_mpi = false;
std::unique_ptr<Channel> open_mpi(int, int) { throw Error("this build has no MPI"); }      // find_ranks does not choose it
#endif

// If a rank is lost, the program ends at once, even if its threads wait for something.
RankLife life_of_ranks(const Launch& launch, const std::string& name, Logger& log) {
  const auto end = [name](const std::string& what) {
    print_error(name.c_str(), what.c_str());
    std::fflush(stderr);
    std::_Exit(exit_code::rank_lost);
  };
  return {.lost_after = launch.rank_timeout, .lost = end, .stop_asked = stop_reason, .stop_heard = request_stop,
          .warn = [&log](const std::string& text) { log.warning("{}", text); }, .open_mpi = open_mpi};
}

// Determines this process's rank before any message: ranks other than the first print only errors.
RankPlace take_place(const ParsedLine& line, Logger& log, std::string& name) {
  RankPlace place;
  if (line.command->info.parallel) place = find_ranks(line.launch, std::getenv, have_mpi);
  if (!place.warning.empty()) log.warning("{}", place.warning);
  place.device = device_of_rank(place, line.launch, line.launch.device.is_cuda() ? cuda_device_count() : 0, !nccl_version().empty());
  if (place.size == 1) return place;
  share_cores(place);
  if (place.rank == 0) {
    log.info("{}", describe(place));
  } else {
    const std::string who = fmt::format("[rank {}] ", place.rank);
    name = who + name;
    log.set_prefix(who);
    log.set_level(std::min(log.level(), Logger::Level::warning));
  }
  return place;
}

// The facts about this process that must be equal on all ranks.
StartFacts start_facts(const Context& context) {
  const BuildInfo& build = build_info();
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  std::error_code ignored;
  const std::filesystem::path out = context.launch.out;
  return {.command = fmt::format("{} {}", context.program, context.command),
          .build = fmt::format("{} (git {})", build.version, build.git),
          .out = out.string(),
          .host = host,
          .folder = std::filesystem::weakly_canonical(std::filesystem::absolute(out, ignored), ignored).string(),
          .config = to_toml(context.fields)};
}

int run_with_ranks(const ParsedLine& line, Context& context) {
  try {
    if (!context.ranks.alone()) check_same_command(*context.ranks, start_facts(context));
    const int code = line.command->run(context);
    context.ranks->finish();
    return code;
  } catch (const StopRequested& stop) {
    context.log.end_status();
    context.log.info("{}", stop.what());
    context.ranks->abandon(stop.what(), Ending::stopped);
    return exit_code::stopped_early;
  } catch (const RankStoppedError& stop) {
    context.log.end_status();
    context.log.info("{}", stop.what());
    context.ranks->abandon(stop.what(), Ending::stopped);
    return exit_code::stopped_early;
  } catch (const RankLostError& lost) {
    const RankLostError said(lost.what() + context.ranks.remedy());
    context.log.record(fmt::format("error: {}", said.what()));
    context.ranks->abandon(lost.what());
    throw said;
  } catch (const std::exception& error) {
    context.log.record(fmt::format("error: {}", error.what()));           // guarded_main prints it on the terminal
    context.ranks->abandon(error.what());
    throw;
  }
}

int run_command(const Program& program, const ParsedLine& line, const std::vector<std::string>& command_line, std::string& name) {
  Logger log;
  const int verbosity = line.launch.verbosity;
  log.set_level(verbosity < 0 ? Logger::Level::error : verbosity > 0 ? Logger::Level::detail : Logger::Level::info);
  const RankPlace place = take_place(line, log, name);
  const auto fields = line.command->fields();
  const std::string own_config = resolve(line, fields, log);
  check_launch(line.launch);
  // Only commands that train have something to save. The system's default handlers end other commands at once.
  if (line.command->info.trains) install_signal_handlers();
  if (line.launch.max_time > 0) set_time_limit(line.launch.max_time, "--max-time " + duration_text(line.launch.max_time));
  if (line.launch.threads > 0) omp_set_num_threads(narrow<int>(line.launch.threads, "--threads"));
  if (line.command->info.trains) try_threads(omp_get_max_threads());      // OpenMP's other threads, and one that prefetches
  std::unique_ptr<Ranks> ranks;
  try {
    ranks = std::make_unique<Ranks>(place, life_of_ranks(line.launch, name, log));
  } catch (const RankStoppedError& stop) {
    log.warning("{}", stop.what());                                 // ranks other than the first print it too
    return exit_code::stopped_early;
  }
  Context context{program.name, line.command->info.name, command_line, line.launch, fields, log, *ranks, line.assignments};
  context.launch.device = place.device;
  context.launch.own_config = own_config;
  if (context.launch.threads == 0) context.launch.threads = omp_get_max_threads();
  if (context.launch.fresh) context.launch.resume = "never";
  const DefaultDevice device(context.launch.device);                // for models and batches; files and images stay on the CPU
  return run_with_ranks(line, context);
}

int parse_and_run(const Program& program, const std::vector<std::string>& command_line, std::string& name) {
  const std::vector<std::string> arguments(command_line.begin() + 1, command_line.end());
  if (arguments.empty()) {
    write_text(stderr, usage_text(program));
    return exit_code::usage;
  }
  const ParsedLine line = parse_command_line(program, arguments);
  if (line.version) {
    print_result("{}", version_text(program));
    return exit_code::finished;
  }
  if (line.help != ParsedLine::Help::none) {
    print_result("{}", line.command == nullptr ? program_help(program, line.help) : command_help(program, *line.command, line.help));
    return exit_code::finished;
  }
  if (!line.completion.empty()) {
    print_result("{}", completion_script(program, line.completion));
    return exit_code::finished;
  }
  return run_command(program, line, command_line, name);
}

int complain(const std::string& program, const char* message, int code) {
  print_error(program.c_str(), message);
  return code;
}

}  // namespace

int guarded_main(const std::string& program, const std::function<int()>& body) {
  try {
    return body();
  } catch (const ConfigError& error) {
    return complain(program, error.what(), exit_code::usage);
  } catch (const FileError& error) {
    return complain(program, error.what(), exit_code::unreadable);
  } catch (const DivergedError& error) {
    return complain(program, error.what(), exit_code::diverged);
  } catch (const RankLostError& error) {
    return complain(program, error.what(), exit_code::rank_lost);
  } catch (const std::filesystem::filesystem_error& error) {
    return complain(program, error.what(), exit_code::unreadable);
  } catch (const std::system_error& error) {
    const bool thread = error.code() == std::errc::resource_unavailable_try_again;
    return complain(program, thread ? no_thread_text().c_str() : error.what(), exit_code::failed);
  } catch (const std::bad_alloc&) {
    return complain(program, "out of memory; a smaller --micro-batch needs less", exit_code::failed);
  } catch (const std::exception& error) {
    return complain(program, error.what(), exit_code::failed);
  }
}

int run_program(const Program& program, int argc, const char* const* argv) {
  guard_standard_files();
  std::string name = program.name;       // with the rank, once that is known
  const int code = guarded_main(name, [&] {
    std::vector<std::string> command_line(argv, argv + argc);
    if (command_line.empty()) command_line.push_back(program.name);
    return parse_and_run(program, command_line, name);
  });
  return end_results(name.c_str(), code);
}

}  // namespace fm
