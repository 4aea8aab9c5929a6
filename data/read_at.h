// Reads parts of a file by position, without mapping it. Stores open a file for each read, so a collection may have more files than a process may
// open, and more bytes than memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace fm {

// An open file. SystemFileError: missing, no permission, a failing disk. FileError: not a regular file.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::uint64_t size() const { return size_; }
  std::int64_t changed() const { return changed_; }  // nanoseconds since 1970
  // `n` bytes at `offset`. FileError if the file ends before them.
  std::string read(std::uint64_t offset, std::uint64_t n) const;

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
  std::int64_t changed_ = 0;
};

}  // namespace fm
