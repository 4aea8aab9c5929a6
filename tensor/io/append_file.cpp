#include "tensor/io/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tensor/io/system_error.h"

namespace fm {

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) throw SystemFileError("write", path_, errno);
  struct stat status;
  if (fstat(file_, &status) == 0) size_ = static_cast<std::uint64_t>(status.st_size);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)), size_(other.size_) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(size_, other.size_);
  return *this;
}

AppendFile::~AppendFile() {
  if (file_ >= 0) close(file_);
}

void AppendFile::append(std::string_view record) {
  for (std::string_view rest = record; !rest.empty();) {
    const ssize_t done = write(file_, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      const int error = errno;
      // Removes the partial record. A failure is ignored: only a device cannot be shortened, and it keeps no partial record.
      if (rest.size() < record.size()) [[maybe_unused]] const int uncut = ftruncate(file_, static_cast<off_t>(size_));
      throw SystemFileError("write", path_, error);
    }
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
  size_ += record.size();
}

}  // namespace fm
