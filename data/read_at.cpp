#include "data/read_at.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tensor/io/system_error.h"

namespace fm {

OpenFile::OpenFile(const std::filesystem::path& path) : path_(path) {
  // Non-blocking, so that open() does not wait for a named pipe, which is refused below.
  file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) throw SystemFileError("read", path, errno);
  struct stat status;
  const bool known = fstat(file_, &status) == 0;
  const int error = errno;
  if (!known || !S_ISREG(status.st_mode)) {
    close(file_);
    if (!known) throw SystemFileError("read", path, error);
    throw FileError(fmt::format("cannot read {}: not a regular file", path.string()));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
  changed_ = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

OpenFile::~OpenFile() { close(file_); }

std::string OpenFile::read(std::uint64_t offset, std::uint64_t n) const {
  if (offset > size_ || n > size_ - offset)
    throw FileError(fmt::format("{}: it ends at byte {}, so {} bytes at byte {} cannot be read: was it cut off?", path_.string(), size_, n, offset));
  std::string bytes(n, '\0');
  for (std::uint64_t done = 0; done < n;) {
    const ssize_t got = pread(file_, bytes.data() + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemFileError("read", path_, errno);
    if (got == 0) throw FileError(fmt::format("{}: it ended while {} bytes at byte {} were read: was it cut off meanwhile?", path_.string(), n, offset));
    done += static_cast<std::uint64_t>(got);
  }
  return bytes;
}

}  // namespace fm
