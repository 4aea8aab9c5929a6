// The table of launch options.
#include <fmt/format.h>

#include "apps/cli/command_line.h"
#include "apps/cli/text.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::int64_t most_ranks = 1000000;
constexpr double day = 86400;

void set_device(Launch& launch, const std::string& text) {
  try {
    launch.device = parse_device(text);
    launch.any_gpu = text == "cuda";
    require_device(launch.device);
  } catch (const Error& error) {
    throw ConfigError(fmt::format("--device {}: {}", text, error.what()));
  }
}

void set_threads(Launch& launch, const std::string& text) {
  if (!parse_integer(text, launch.threads) || launch.threads < 0 || launch.threads > 4096)
    throw ConfigError(fmt::format("--threads {}: takes 1 to 4096, or 0 for as many as the machine has", text));
}

void set_rank(const char* flag, std::int64_t& value, std::int64_t least, const std::string& text) {
  if (!parse_integer(text, value) || value < least || value > most_ranks)
    throw ConfigError(fmt::format("{} {}: takes a number from {} to {}", flag, text, least, most_ranks));
}

void set_init_from(Launch& launch, const std::string& text) {
  launch.init_from_ema = text.size() > 4 && text.ends_with(":ema");
  launch.init_from = launch.init_from_ema ? text.substr(0, text.size() - 4) : text;
}

void add_set(ParsedLine& line, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw ConfigError(fmt::format("--set {}: takes key=value", text));
  line.assignments.push_back({text.substr(0, equals), text.substr(equals + 1), "--set"});
}

}  // namespace

std::vector<LaunchOption> launch_options(const CommandInfo& command, ParsedLine& line) {
  Launch& launch = line.launch;
  std::vector<LaunchOption> options{
      {"--config", "FILE", "read this TOML file; one alone", "", [&](const std::string& text) { launch.config_file = text; }, true},
      {"--set", "KEY=VALUE", "set one value, again and again; --KEY VALUE is the same", "",
       [&](const std::string& text) { add_set(line, text); }},
      {"--device", "NAME", "where to compute: cpu, cuda or cuda:N [default: cpu]", "FLOWMAP_DEVICE",
       [&](const std::string& text) { set_device(launch, text); }},
      {"--threads", "COUNT", "threads to compute with; results do not depend on it [default: all]", "FLOWMAP_THREADS",
       [&](const std::string& text) { set_threads(launch, text); }},
  };
  if (command.has_folder)
    options.insert(options.begin() + 2,
                   {"--out", "DIR", command.trains ? "the folder that results go to" : "the run's folder, where a run is read", "FLOWMAP_OUT",
                    [&](const std::string& text) { launch.out = text; }, true});
  if (command.trains) {
    options.insert(
        options.end(),
        {
            {"--resume", "auto|PATH|never", "auto: resume from the newest checkpoint in --out; PATH: from this one [default: auto]", "",
             [&](const std::string& text) { launch.resume = text; }, true},
            {"--fresh", "", "begin a new run; one that is in --out is moved aside", "", [&](const std::string&) { launch.fresh = true; }},
            {"--init-from", "CKPT[:ema]", "begin a new run with the (averaged) weights of this checkpoint", "",
             [&](const std::string& text) { set_init_from(launch, text); }, true},
            {"--cuda-graph", "", "with --device cuda: steps of teachers and flow maps are recorded once and replayed by one call each", "",
             [&](const std::string&) { launch.cuda_graph = true; }},
            {"--max-time", "TIME", "stop by oneself after this time, with a checkpoint: 1h50m, 90s", "",
             [&](const std::string& text) { launch.max_time = parse_duration(text, "--max-time"); }},
            {"-n,--dry-run", "", "resolve the config, print sizes and what a step costs; write nothing", "",
             [&](const std::string&) { launch.dry_run = true; }},
        });
  }
  if (command.parallel) {
    options.insert(
        options.end(),
        {
            {"--rank", "N", "this process is number N of --world-size [default: what mpirun, torchrun or srun say]", "",
             [&](const std::string& text) { set_rank("--rank", launch.rank, 0, text); }},
            {"--world-size", "COUNT", "processes that train together, each started with the same command and its own --rank", "",
             [&](const std::string& text) { set_rank("--world-size", launch.world_size, 1, text); }},
            {"--rendezvous", "HOST:PORT|file:FOLDER", "where rank 0 listens, or a folder of all ranks where it leaves its address", "FLOWMAP_RENDEZVOUS",
             [&](const std::string& text) { launch.rendezvous = text; }, true},
            {"--rendezvous-timeout", "TIME", "ranks that have not come after this time are named and end the start [default: 2m]", "FLOWMAP_RENDEZVOUS_TIMEOUT",
             [&](const std::string& text) { launch.rendezvous_timeout = parse_duration(text, "--rendezvous-timeout", day); }},
            {"--rank-timeout", "TIME", "a rank that is silent for so long is lost [default: 15s]", "FLOWMAP_RANK_TIMEOUT",
             [&](const std::string& text) { launch.rank_timeout = parse_duration(text, "--rank-timeout", day); }},
            {"--shard-optimizer", "", "moments and averaged weights are kept in parts, one a rank (ZeRO-1)", "",
             [&](const std::string&) { launch.shard_optimizer = true; }},
            {"--trace", "FILE", "draw one step into this file, for chrome://tracing or ui.perfetto.dev", "",
             [&](const std::string& text) { launch.trace = text; }, true},
        });
  }
  options.insert(options.end(),
                 {
                     {"-q,--quiet", "", "show errors only", "", [&](const std::string&) { --launch.verbosity; }},
                     {"-v,--verbose", "", "show more", "", [&](const std::string&) { ++launch.verbosity; }},
                     {"-h,--help", "", "show this text", "", [&](const std::string&) { line.help = true; }},
                     {"--version", "", "show version, git hash and build flags", "", [&](const std::string&) { line.version = true; }},
                 });
  return options;
}

}  // namespace fm
