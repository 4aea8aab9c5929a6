// A folder for the checkpoints of a program of the book, removed when the program ends.
#pragma once

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tensor/error.h"

class RunFolder {
 public:
  RunFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "flowmap-book-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw fm::FileError(fmt::format("cannot make the folder {}: set TMPDIR to one that can be written", name));
    path_ = name;
  }
  ~RunFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};
