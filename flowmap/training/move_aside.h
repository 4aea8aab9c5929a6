// Moves an old run aside when a new one takes its folder.
#pragma once

#include <filesystem>

#include "nn/training/messages.h"

namespace fm {

// Renames the folder to the first free "<path>.old-<n>" and reports it. ConfigError if that fails or if a process trains in it or in a folder below.
void move_aside(const std::filesystem::path& path, Messages& log);

}  // namespace fm
