// Replaces files atomically: a file is written under a temporary name, flushed to the disk and renamed, so readers see the old or the new file,
// never a part. A folder of several files is made the same way: fill `temporary_name(path)`, then publish(). Leftovers of a killed process are
// named `*.tmp-<pid>` and are removed on the next start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace fm {

// A file that appears under its name on commit(). Without commit() it is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);  // throws FileError when it cannot be created
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);  // throws FileError (disk full, ...)
  // Replaces bytes that were written before, such as sizes in a header that are known only at the end.
  void overwrite(std::uint64_t offset, std::string_view bytes);
  void commit();                       // fsync, rename, fsync of the folder

 private:
  std::filesystem::path path_, temporary_;
  int file_ = -1;
};

void write_atomically(const std::filesystem::path& path, std::string_view bytes);

// "model" -> "model.tmp-<pid>" in the same folder.
std::filesystem::path temporary_name(const std::filesystem::path& path);

// Flushes a file or folder to the disk. Throws FileError.
void flush_to_disk(const std::filesystem::path& path);

// Renames `temporary` (a flushed file or folder) to `path` and flushes the folder that holds them. `path` must not be an
// existing folder; an existing file is replaced. Throws FileError.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& path);

// Points the symbolic link `link` to `target` (relative to the link's folder) by rename, so that the link exists at every moment.
void link_atomically(const std::filesystem::path& link, const std::filesystem::path& target);

// Removes temporary files of killed processes, every `*.tmp-<digits>`, in `folder` but not in folders below it. Returns their number.
int remove_stale_temporaries(const std::filesystem::path& folder);
// Removes the temporary files of this one file only. For folders into which other processes write other files.
int remove_stale_temporaries_of(const std::filesystem::path& file);

// Returns the contents of a file. Throws SystemFileError (tensor/io/system_error.h).
std::string read_file(const std::filesystem::path& path);

// Size and crc32c of a file. The file is read, not mapped: if the disk fails, that is a SystemFileError with the reason, not a SIGBUS.
struct FileSum {
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
};
FileSum sum_of_file(const std::filesystem::path& path);

}  // namespace fm
