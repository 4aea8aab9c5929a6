// The table of launch options.
#include <fmt/format.h>

#include <algorithm>

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

void set_completion(ParsedLine& line, const std::string& shell) {
  if (shell != "bash" && shell != "zsh") throw ConfigError(fmt::format("--completion {}: takes bash or zsh", shell));
  line.completion = shell;
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
      {"--config", "FILE", "TOML file of the config", "", [&](const std::string& text) { launch.config_file = text; }, true, true},
      {"--set", "KEY=VALUE", "one value of the config, like --KEY VALUE; may be given several times", "",
       [&](const std::string& text) { add_set(line, text); }},
      {"--device", "cpu|cuda|cuda:N", "device to compute on [default: cpu]", "FLOWMAP_DEVICE",
       [&](const std::string& text) { set_device(launch, text); }, false, true},
      {"--threads", "COUNT", "number of threads; results do not depend on it [default: all]", "FLOWMAP_THREADS",
       [&](const std::string& text) { set_threads(launch, text); }},
  };
  if (command.has_folder)
    options.insert(options.begin() + 2,
                   {"--out", "DIR", command.trains ? "folder for the results" : "folder of the run", "FLOWMAP_OUT",
                    [&](const std::string& text) { launch.out = text; }, true, true});
  if (command.trains) {
    options.insert(
        options.end(),
        {
            {"--resume", "auto|PATH|never", "checkpoint to resume from; auto: the newest in --out [default: auto]", "",
             [&](const std::string& text) { launch.resume = text; }, true},
            {"--fresh", "", "new run; an existing run in --out is moved aside", "", [&](const std::string&) { launch.fresh = true; }, false, true},
            {"--init-from", "CKPT[:ema]", "checkpoint whose weights begin a new run; with :ema its averaged weights", "",
             [&](const std::string& text) { set_init_from(launch, text); }, true},
            {"--cuda-graph", "", "training steps of teachers and flow maps as a CUDA graph, recorded once and then replayed; needs --device cuda", "",
             [&](const std::string&) { launch.cuda_graph = true; }},
            {"--max-time", "TIME", "time after which the run stops with a checkpoint: 1h50m, 90s", "",
             [&](const std::string& text) { launch.max_time = parse_duration(text, "--max-time"); }},
            {"-n,--dry-run", "", "sizes and cost of a step for the resolved config; nothing is trained or written", "",
             [&](const std::string&) { launch.dry_run = true; }, false, true},
        });
  }
  if (command.parallel) {
    options.insert(
        options.end(),
        {
            {"--rank", "N", "number of this process among --world-size, from 0 [default: as mpirun, torchrun or srun set it]", "",
             [&](const std::string& text) { set_rank("--rank", launch.rank, 0, text); }},
            {"--world-size", "COUNT", "number of processes that train together, each started with the same command and its own --rank", "",
             [&](const std::string& text) { set_rank("--world-size", launch.world_size, 1, text); }},
            {"--rendezvous", "HOST:PORT|file:FOLDER", "address at which rank 0 listens, or folder of all ranks in which it leaves its address", "FLOWMAP_RENDEZVOUS",
             [&](const std::string& text) { launch.rendezvous = text; }, true},
            {"--rendezvous-timeout", "TIME", "time after which missing ranks are named and the start fails [default: 2m]", "FLOWMAP_RENDEZVOUS_TIMEOUT",
             [&](const std::string& text) { launch.rendezvous_timeout = parse_duration(text, "--rendezvous-timeout", day); }},
            {"--rank-timeout", "TIME", "time without a message after which a rank counts as lost [default: 15s]", "FLOWMAP_RANK_TIMEOUT",
             [&](const std::string& text) { launch.rank_timeout = parse_duration(text, "--rank-timeout", day); }},
            {"--shard-optimizer", "", "optimizer moments and averaged weights divided among the ranks (ZeRO-1)", "",
             [&](const std::string&) { launch.shard_optimizer = true; }},
            {"--trace", "FILE", "file for a timeline of one step, for chrome://tracing or ui.perfetto.dev", "",
             [&](const std::string& text) { launch.trace = text; }, true},
        });
  }
  using Help = ParsedLine::Help;
  options.insert(options.end(),
                 {
                     {"-q,--quiet", "", "errors only", "", [&](const std::string&) { --launch.verbosity; }},
                     {"-v,--verbose", "", "more messages", "", [&](const std::string&) { ++launch.verbosity; }},
                     {"-h", "", "most used options and an example", "", [&](const std::string&) { line.help = std::max(line.help, Help::basic); }},
                     {"--help", "", "all options, by groups, and the exit codes", "", [&](const std::string&) { line.help = Help::all; }},
                     {"--version", "", "version, git hash and build flags", "", [&](const std::string&) { line.version = true; }},
                     {"--completion", "bash|zsh", "script for this shell that completes commands, flags and their values", "",
                      [&](const std::string& text) { set_completion(line, text); }},
                 });
  return options;
}

}  // namespace fm
