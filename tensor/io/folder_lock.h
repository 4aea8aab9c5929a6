// A folder's lock against a second process.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

namespace fm {

// Holds folder/run.lock while it lives. File systems without locks go unlocked.
class FolderLock {
 public:
  static constexpr const char* file_name = "run.lock";

  // ConfigError when another process has it or it cannot be written; the message begins with `option` where one is given ("--out").
  explicit FolderLock(const std::filesystem::path& folder, const std::string& option = {});
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  int file_ = -1;
};

}  // namespace fm
