#include "tensor/io/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"
#include "tensor/io/system_error.h"

namespace fm {

FolderLock::FolderLock(const std::filesystem::path& folder, const std::string& option)
    : file_(open((folder / file_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  const int error = errno;
  const std::string name = option.empty() ? folder.string() : option + " " + folder.string();
  if (file_ < 0 && (error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO)) throw SystemFileError("open", folder / file_name, error);
  if (file_ < 0) throw ConfigError(fmt::format("{}: cannot write there: {}; choose a folder that you can write to", name, std::strerror(error)));
  if (flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  close(std::exchange(file_, -1));
  throw ConfigError(fmt::format("{}: another process is writing to this run; wait for it or choose another folder", name));
}

FolderLock::~FolderLock() {
  if (file_ >= 0) close(file_);
}

}  // namespace fm
