// Locks a folder, so that two processes do not write to it at the same time.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

namespace fm {

// Holds a lock on folder/run.lock while it lives. On a file system without locks it has no effect.
class FolderLock {
 public:
  static constexpr const char* file_name = "run.lock";

  // ConfigError if another process holds the lock or the file cannot be written. The message begins with `option` ("--out"), if that is not empty.
  explicit FolderLock(const std::filesystem::path& folder, const std::string& option = {});
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  int file_ = -1;
};

}  // namespace fm
