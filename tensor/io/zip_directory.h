// Reads the central directory of a zip file entry by entry. Used for archives with few large members (ZipReader) and with a million small ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/io/zip.h"

namespace fm {

struct ZipDirectory {
  std::uint64_t entries = 0;
  std::uint64_t start = 0, size = 0;  // bytes, in the file
};

// Finds the directory of `file`, a whole mapped archive, and touches only its end. Throws FileError "NAME: ..." if it is no zip file, is
// truncated, or if the directory lies outside of the file or is too small for its entries.
ZipDirectory find_zip_directory(std::string_view file, const std::string& name);

// Reads the entry at byte `at` of the directory and moves `at` past it. FileError if there is no entry at `at`.
ZipMember read_zip_entry(std::string_view directory, std::uint64_t& at, const std::string& name);

}  // namespace fm
