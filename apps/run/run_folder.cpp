// Creating, locking and describing a run's folder.
#include "apps/run/run_folder.h"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/build_info.h"
#include "apps/cli/program.h"
#include "apps/cli/text.h"
#include "apps/cli/toml.h"
#include "data/report/clock.h"
#include "flowmap/training/move_aside.h"
#include "nn/checkpoint_folder.h"
#include "nn/config/removed_options.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/atomic_file.h"
#include "tensor/kernels/cpu/isa.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw ConfigError(fmt::format("--out {}: {}", path.string(), why));
}

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string cpu_model() {
  std::string text;
  try {
    text = read_file("/proc/cpuinfo");
  } catch (const FileError&) {
    return "unknown";  // not Linux, or no /proc
  }
  const size_t line = text.find("model name");
  const size_t colon = line == std::string::npos ? line : text.find(": ", line);
  return colon == std::string::npos ? "unknown" : text.substr(colon + 2, text.find('\n', colon) - colon - 2);
}

Json read_run_json(const fs::path& path) {
  if (!fs::exists(path)) return Json{{"sessions", Json::array()}};
  Json json = Json::parse(read_file(path), nullptr, false);
  if (!json.is_object() || !json.contains("sessions") || !json["sessions"].is_array())
    throw FileError(fmt::format("{} is damaged: move it away to continue", path.string()));
  return json;
}

}  // namespace

RunFolder::RunFolder(fs::path path, bool fresh, Logger& log) : path_(std::move(path)) {
  while (!path_.empty() && path_.has_relative_path() && path_.filename().empty()) path_ = path_.parent_path();  // "runs/a/"
  if (path_.empty()) refuse(path_, "an empty name; name a folder");
  std::error_code error;
  if (fresh && fs::exists(path_ / "run.json", error)) move_aside(path_, log);
  fs::create_directories(path_, error);
  if (error) refuse(path_, fmt::format("cannot create the folder: {}; choose one that you can write to", error.message()));
  lock_.emplace(path_, "--out");
  for (const fs::path& folder : {path_, path_ / "samples", checkpoints()}) remove_stale_temporaries(folder);
  try {
    log.mirror_to(path_ / "log.txt");
  } catch (const FileError& e) {
    log.warning("{}: messages continue without it", e.what());
  }
}

fs::path RunFolder::sample(int64_t step, std::string_view extension) const {
  fs::create_directories(path_ / "samples");
  return path_ / "samples" / (step_name(step) + std::string(extension));
}

std::vector<std::string> RunFolder::config_differences(const std::vector<Field>& fields) const {
  const fs::path path = path_ / "config.toml";
  if (!fs::exists(path)) return {};
  return config_changes(read_file(path), to_toml(fields));
}

void RunFolder::write_config(const std::vector<Field>& fields) {
  write_atomically(path_ / "config.toml",
                   fmt::format("# The resolved config of this run; use it again with --config.\n\n{}", to_toml(fields)));
}

void RunFolder::begin_session(const SessionInfo& session) {
  const BuildInfo& build = build_info();
  Json json = read_run_json(path_ / "run.json");
  json["sessions"].push_back(Json{
      {"started", local_time_text()},
      {"command_line", session.command_line},
      {"version", build.version},
      {"git", build.git},
      {"compiler", build.compiler},
      {"build_flags", build.flags},
      {"host", host_name()},
      {"process", getpid()},
      {"cpu", cpu_model()},
      {"cores", std::thread::hardware_concurrency()},
      {"instructions", cpu::isa_name(cpu::active_isa())},
      {"device", session.device},
      {"threads", session.threads},
      {"ranks", session.ranks},
      {"seed", session.seed},
      {"deterministic", true},
      {"determinism",
       "same config, seed, build and instruction set give identical bits on the CPU, for any number of threads, "
       "and stopping and resuming changes nothing"},
      {"resumed_from_step", session.resumed_from < 0 ? Json() : Json(session.resumed_from)},
  });
  write_atomically(path_ / "run.json", json.dump(2) + "\n");
}

bool RunFolder::ended_well() const {
  const Json json = read_run_json(path_ / "run.json");
  if (json["sessions"].empty() || !json["sessions"].back().is_object()) return false;
  const Json code = json["sessions"].back().value("exit_code", Json());
  return code == exit_code::finished || code == exit_code::stopped_early;
}

void RunFolder::end_session(int exit_code, int64_t step) {
  const HoldInterrupts hold;           // this code handles stop requests itself
  Json json = read_run_json(path_ / "run.json");
  if (json["sessions"].empty()) return;
  Json& session = json["sessions"].back();
  session["ended"] = local_time_text();
  session["exit_code"] = exit_code;
  session["last_step"] = step;
  write_atomically(path_ / "run.json", json.dump(2) + "\n");
}

}  // namespace fm
