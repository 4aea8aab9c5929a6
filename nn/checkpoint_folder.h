// The folder of checkpoints: `checkpoints/step-00001000/` is one checkpoint, `checkpoints/latest` a symbolic link to the newest.
// The link is for people: programs search for the newest step's folder. A file or folder that has the link's name is moved aside, and a failure
// to make the link is only a warning.
// The caller writes the contents of a checkpoint:
//   const auto folder = checkpoints.begin(step);      // an empty temporary folder
//   ... write files into it (write_atomically or AtomicFile, so that they are flushed) ...
//   checkpoints.publish(step);                        // renames the folder, sets `latest`, then deletes old checkpoints
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
  // Keeps the newest `keep` checkpoints (at least 1) and, if keep_every > 0, those at multiples of keep_every steps. The first begin() creates `folder`.
  CheckpointFolder(std::filesystem::path folder, int64_t keep, int64_t keep_every)
      : folder_(std::move(folder)), keep_(keep), keep_every_(keep_every) {}

  // Sets the receiver of problems that do not affect new checkpoints: a link that cannot be set, an old checkpoint that cannot be removed.
  void set_warning(Warn warn) { warn_ = std::move(warn); }

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path path(int64_t step) const { return folder_ / step_name(step); }

  std::filesystem::path begin(int64_t step);  // throws FileError
  void publish(int64_t step);                 // throws FileError

  // Returns the steps that have a checkpoint, newest first. To resume, try them in this order until one is undamaged. Empty if the folder does not
  // exist. Throws SystemFileError if it cannot be read.
  std::vector<int64_t> newest_first() const;

  // Renames the checkpoints after `step` to "step-00001000.<suffix>" (".<suffix>-2", ... if that exists). A run that resumes from `step` must not
  // find them later, but they are not deleted because no other copy may exist. Returns the new paths, newest first. Throws FileError.
  std::vector<std::filesystem::path> move_aside_after(int64_t step, std::string_view suffix);

  // Points the link `best` to this step's folder, which is then kept until the link points to another folder.
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

// Returns the newest step of a folder of checkpoints; -1 if it has none.
int64_t newest_step(const std::filesystem::path& folder);

}  // namespace fm
