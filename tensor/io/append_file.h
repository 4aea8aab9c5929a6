// A file that grows by whole records. A record that could not be written whole (a full disk) is cut off again: the next one begins where a
// record begins, and readers never see a half record in the middle.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace fm {

class AppendFile {
 public:
  AppendFile() = default;
  explicit AppendFile(std::filesystem::path path);      // creates it, or continues at its end; throws SystemFileError
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
