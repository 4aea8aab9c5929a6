// A file that grows by whole records. If only a part of a record can be written (a full disk), the part is removed again. So readers never see a
// partial record between others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace fm {

class AppendFile {
 public:
  AppendFile() = default;
  explicit AppendFile(std::filesystem::path path);      // creates the file, or appends to an existing one; throws SystemFileError
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;
  ~AppendFile();

  explicit operator bool() const { return file_ >= 0; }
  std::uint64_t size() const { return size_; }
  void append(std::string_view record);                 // throws SystemFileError

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace fm
