// Folders of a program of the book that trains: one for its checkpoints, removed when the program ends, and what lies in it.
#pragma once

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

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

// Names in a folder of checkpoints, sorted. A half-written one ends in ".tmp", without the number of the process that wrote it.
inline std::vector<std::string> step_folders(const std::filesystem::path& checkpoints) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints)) {
    const std::string name = entry.path().filename().string(), start = name.substr(0, name.find(".tmp-"));
    if (name.starts_with("step")) names.push_back(name == start ? name : start + ".tmp");
  }
  std::sort(names.begin(), names.end());
  return names;
}
