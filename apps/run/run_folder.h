// The folder that one run owns:
//   config.toml    the resolved config            run.json       builds, hosts, command lines, exits: one session per start
//   log.txt        all messages                   metrics.*      see metrics.h
//   samples/       step-00001000.png              checkpoints/   see nn/checkpoint_folder.h
//   report.html
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/logger.h"
#include "nn/config/visit.h"
#include "tensor/io/folder_lock.h"

namespace fm {

struct SessionInfo {
  std::vector<std::string> command_line;
  int64_t seed = 0;
  int threads = 0;
  int ranks = 1;
  std::string device = "cpu";
  int64_t resumed_from = -1;  // step of the checkpoint, -1: a new run
};

class RunFolder {
 public:
  // Creates the folder (or takes an existing one), checks that it can be written, locks it against a second process, removes old
  // temporary files and sends the log's messages to log.txt. fresh: an existing run is moved aside to "<path>.old-<n>" first, never deleted.
  // Throws ConfigError: not creatable, not writable, in use.
  RunFolder(std::filesystem::path path, bool fresh, Logger& log);
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path sample(int64_t step, std::string_view extension = ".png") const;  // creates samples/
  std::filesystem::path report() const { return path_ / "report.html"; }

  // Differences between config.toml and these fields: "lr was 1e-04, is 2e-04". Empty if config.toml does not exist yet.
  std::vector<std::string> config_differences(const std::vector<Field>& fields) const;
  void write_config(const std::vector<Field>& fields);

  // Appends a session to run.json, and closes it with its exit code.
  void begin_session(const SessionInfo& session);
  void end_session(int exit_code, int64_t step);
  // Whether the last session finished or was stopped. False if its process was killed or ended with an error.
  bool ended_well() const;

 private:
  std::filesystem::path path_;
  std::optional<FolderLock> lock_;
};

}  // namespace fm
