// A file mapped into memory, private to this process: pages are read when touched, and writing to them changes this process's copy only.
// The file must not be shortened while it is mapped (no program that publishes by rename, as this one does, shortens one).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string_view>

namespace fm {

struct MappedFile {
  std::shared_ptr<std::byte> data;     // the last owner unmaps; null for an empty file
  std::size_t size = 0;
  std::string_view bytes() const { return {reinterpret_cast<const char*>(data.get()), size}; }

  // An owner of [begin, end) that keeps the file mapped. With the last such owner's end the system may take the part's pages back: a file that
  // is read, converted and dropped tensor by tensor then never lies in memory as a whole.
  std::shared_ptr<std::byte> part(std::size_t begin, std::size_t end) const;

  // Releases the whole pages within [begin, end) from this process's memory. They stay in the system's cache and return when touched. Only for
  // pages that were only read: changes to them are lost.
  void forget(std::size_t begin, std::size_t end) const;
};

// Throws FileError: missing, not a regular file, no permission.
MappedFile map_file(const std::filesystem::path& path);

}  // namespace fm
