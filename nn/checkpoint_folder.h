// The folder of checkpoints: `checkpoints/step-00001000/` is one checkpoint, `checkpoints/latest` a symbolic link to the newest.
// The link is for people: programs find the newest step's folder themselves. Anything else under the link's name is moved aside, and a failure
// to make the link is a warning.
// The contents of a checkpoint are up to the caller:
//   const auto folder = checkpoints.begin(step);      // an empty temporary folder
//   ... write files into it (write_atomically or AtomicFile, so that they are flushed) ...
//   checkpoints.publish(step);                        // rename, `latest`, then delete checkpoints that are no longer kept
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

using Warn = std::function<void(const std::string& line)>;

std::string step_name(int64_t step);  // "step-00001000"

class CheckpointFolder {
 public:
  // Keeps the newest `keep` (at least 1) and, when keep_every > 0, all whose step it divides. Creates `folder` on the first begin().
  CheckpointFolder(std::filesystem::path folder, int64_t keep, int64_t keep_every)
      : folder_(std::move(folder)), keep_(keep), keep_every_(keep_every) {}

  // Receives problems apart from the checkpoints themselves: the link, the removal of old ones. Each is reported once.
  void set_warning(Warn warn) { warn_ = std::move(warn); }

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path path(int64_t step) const { return folder_ / step_name(step); }

  std::filesystem::path begin(int64_t step);  // throws FileError
  void publish(int64_t step);                 // throws FileError

  // The steps that have a checkpoint, newest first: try them in this order on resume; a damaged one falls back to the one before. Empty if
  // the folder does not exist. Throws SystemFileError if it cannot be read.
  std::vector<int64_t> newest_first() const;

  // Renames the checkpoints after `step` to "step-00001000.<suffix>" (".<suffix>-2", ... if that exists). A run that resumes further back must
  // not find them later, but they may be the only copy of their contents. Returns the new paths, newest first. Throws FileError.
  std::vector<std::filesystem::path> move_aside_after(int64_t step, std::string_view suffix);

  // Points the link `best` to this step's folder, which is then not deleted until another one is the best.
  void keep_best(int64_t step);

  // Sets the link `latest` to this step's folder, unless it points there already. A folder with that name (a copy that followed
  // links) is removed if its contents equal a checkpoint here; anything else with that name is moved aside.
  void point_latest(int64_t step);

 private:
  void remove(int64_t step);
  void rotate();
  void clear_the_way(const std::filesystem::path& link);
  void warn_once(bool& warned, const std::string& line);

  std::filesystem::path folder_;
  int64_t keep_, keep_every_;
  Warn warn_;
  bool told_link_ = false, told_removal_ = false, told_best_ = false;
};

// The newest step of a folder of checkpoints; -1: none.
int64_t newest_step(const std::filesystem::path& folder);

}  // namespace fm
