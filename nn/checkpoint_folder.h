// Where checkpoints lie and how they come and go: `checkpoints/step-00001000/` holds one, `checkpoints/latest` points to the newest.
// What is inside a checkpoint is the caller's business:
//   const auto folder = checkpoints.begin(step);      // an empty temporary folder
//   ... write files into it (write_atomically or AtomicFile, so that they are flushed) ...
//   checkpoints.publish(step);                        // rename, `latest`, then delete what is no longer kept
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fm {

std::string step_name(int64_t step);  // "step-00001000"

class CheckpointFolder {
 public:
  // Keeps the newest `keep` (at least 1) and, when keep_every > 0, all whose step it divides. Creates `folder` on the first begin().
  CheckpointFolder(std::filesystem::path folder, int64_t keep, int64_t keep_every)
      : folder_(std::move(folder)), keep_(keep), keep_every_(keep_every) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path path(int64_t step) const { return folder_ / step_name(step); }

  std::filesystem::path begin(int64_t step);  // throws FileError
  void publish(int64_t step);                 // throws FileError

  // Complete checkpoints, newest first: try them in this order on resume, a damaged one falls back to the one before.
  std::vector<int64_t> newest_first() const;

  // Removes those after `step`: a run that resumes further back must not find them later.
  void forget_after(int64_t step);

 private:
  void remove(int64_t step);
  void rotate();

  std::filesystem::path folder_;
  int64_t keep_, keep_every_;
};

}  // namespace fm
