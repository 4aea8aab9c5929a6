// Compares needed with available resources before hours of work: one line names the amounts and the remedy.
#pragma once

#include <filesystem>
#include <string>

namespace fm {

// "fm needs about 240 GiB of memory (...), this machine has 23.4 GiB: lower --batch"; empty if `bytes` fit. `what` is "fm", `of` the use
// of the memory.
std::string beyond_memory(double bytes, const std::string& what, const std::string& of, const std::string& remedy);

// The same of free disk space where `folder` is or will be.
std::string beyond_disk(double bytes, const std::filesystem::path& folder, const std::string& what, const std::string& remedy);

}  // namespace fm
