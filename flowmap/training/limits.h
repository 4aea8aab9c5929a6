// Compares needed with available resources before hours of work. If the resources do not suffice, a line of text names the amounts and the remedy.
#pragma once

#include <filesystem>
#include <string>

namespace fm {

// Returns "WHAT needs about 240 GiB of memory (OF), this machine has 23.4 GiB: REMEDY", or "" if `bytes` fit. `of`: what the memory is used for.
std::string beyond_memory(double bytes, const std::string& what, const std::string& of, const std::string& remedy);

// Like beyond_memory(), for free disk space at `folder`, which need not exist yet. `what` ends in "need": "the checkpoints of fm need about".
std::string beyond_disk(double bytes, const std::filesystem::path& folder, const std::string& what, const std::string& remedy);

}  // namespace fm
