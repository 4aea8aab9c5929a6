// Lists the checkpoints of a program of the book that trains.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

// The sorted names in a folder of checkpoints. The name of a half-written checkpoint ends in ".tmp"; the process number that follows is cut off.
inline std::vector<std::string> step_folders(const std::filesystem::path& checkpoints) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints)) {
    const std::string name = entry.path().filename().string(), start = name.substr(0, name.find(".tmp-"));
    if (name.starts_with("step")) names.push_back(name == start ? name : start + ".tmp");
  }
  std::sort(names.begin(), names.end());
  return names;
}
