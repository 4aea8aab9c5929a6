// The central directory of a zip file, entry by entry: shared by readers of few large members (ZipReader) and of a million small ones.
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

// `file` is the whole archive, mapped; only its end is touched. FileError "NAME: ...": no zip file, cut off, a directory outside of the file or too
// small for its entries.
ZipDirectory find_zip_directory(std::string_view file, const std::string& name);

// The entry at byte `at` of the directory's bytes; moves `at` past it. FileError if there is none.
ZipMember read_zip_entry(std::string_view directory, std::uint64_t& at, const std::string& name);

}  // namespace fm
