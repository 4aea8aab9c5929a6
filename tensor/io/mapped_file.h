// A file mapped into memory. Pages are read when they are touched. Writes change a private copy of the page, not the file.
// The file must not be shortened while it is mapped (no program that publishes by rename, as this one does, shortens one).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string_view>

namespace fm {

struct MappedFile {
  std::shared_ptr<std::byte> data;     // the file is unmapped with its last owner; null for an empty file
  std::size_t size = 0;
  std::string_view bytes() const { return {reinterpret_cast<const char*>(data.get()), size}; }

  // Returns an owner of the bytes [begin, end), which keeps the file mapped. When the last such owner ends, the pages of this part are released. So
  // a file whose tensors are read, converted and dropped one by one never occupies memory as a whole.
  std::shared_ptr<std::byte> part(std::size_t begin, std::size_t end) const;

  // Releases the whole pages within [begin, end) from this process's memory. They stay in the system's cache and return when
  // touched. For pages that were never written to: changes are lost.
  void forget(std::size_t begin, std::size_t end) const;
};

// Throws FileError if the file is missing, is not a regular file or may not be read.
MappedFile map_file(const std::filesystem::path& path);

}  // namespace fm
