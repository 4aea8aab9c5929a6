// Reads the sessions of a stage from run.json, one for each start, and describes them in words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fm {

// Members that the file lacks are empty, 0 or absent.
struct Session {
  std::string started, ended;            // local time: "2026-01-31 12:34:56"
  std::vector<std::string> command_line;
  std::string version, git, compiler, build_flags, host, cpu, instructions, device;
  std::int64_t cores = 0, threads = 0, ranks = 0;
  std::optional<std::int64_t> seed, resumed_from_step, exit_code, last_step;
};

// Empty if the file is missing or has no list of sessions.
std::vector<Session> read_sessions(const std::filesystem::path& run_json);

// "on vm: AMD EPYC with 2 cores (avx512), 2 threads; device cpu".
std::string machine_text(const Session& session);
// "flowmap 0.1.0 of git 1a2b3c, gcc 12.2.0, optimization=2".
std::string build_text(const Session& session);
// The command line, quoted for a shell.
std::string command_text(const Session& session);
// "started 2026-01-31 12:34:56, resumed from step 100, ended 2026-01-31 12:50:00 at step 600 with exit code 0 after 15:04".
std::string session_text(const Session& session);

// Duration of all sessions together, in seconds. If the last one has no end (the process was killed, or still runs), it counts until `last_row`, the time
// of the last row of metrics.csv in seconds since 1970. Earlier sessions without an end do not count. NaN if no duration is known.
double seconds_of(const std::vector<Session>& sessions, double last_row);

}  // namespace fm
