#include "tensor/io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tensor/interrupt.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/system_error.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const char* what, const fs::path& path, int error) { throw SystemFileError(what, path, error); }

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

bool is_temporary(const std::string& name) {
  const size_t at = name.rfind(".tmp-");
  return at != std::string::npos && at + 5 < name.size() && std::all_of(name.begin() + long(at) + 5, name.end(), ::isdigit);
}

}  // namespace

fs::path temporary_name(const fs::path& path) { return fs::path(path.string() + fmt::format(".tmp-{}", getpid())); }

void flush_to_disk(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("open", path, errno);
  // Some file systems cannot flush a folder and return EINVAL. The rename is then as durable as they allow.
  const bool failed = fsync(file) != 0 && errno != EINVAL;
  const int error = errno;
  close(file);
  if (failed) fail("flush", path, error);
}

void publish(const fs::path& temporary, const fs::path& path) {
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to", path, errno);
  flush_to_disk(folder_of(path));
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temporary_(temporary_name(path_)) {
  file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail("write", path_, errno);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(file_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write", path_, errno);
    bytes.remove_prefix(size_t(done));
  }
}

void AtomicFile::overwrite(std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file_, bytes.data(), bytes.size(), off_t(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write", path_, errno);
    bytes.remove_prefix(size_t(done));
    offset += std::uint64_t(done);
  }
}

void AtomicFile::commit() {
  if (fsync(file_) != 0) fail("flush", path_, errno);
  const int failed = close(file_);  // network file systems report a full disk here
  file_ = -1;
  if (failed != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    fail("write", path_, error);
  }
  try {
    publish(temporary_, path_);
  } catch (...) {  // path_ is a folder, or the folder that contains it is gone
    unlink(temporary_.c_str());
    throw;
  }
}

void write_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void link_atomically(const fs::path& link, const fs::path& target) {
  const fs::path temporary = temporary_name(link);
  unlink(temporary.c_str());
  if (symlink(target.c_str(), temporary.c_str()) != 0) fail("link", link, errno);
  try {
    publish(temporary, link);
  } catch (...) {  // `link` is a folder
    unlink(temporary.c_str());
    throw;
  }
}

namespace {

int remove_temporaries(const fs::path& folder, const std::string& of) {
  int removed = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_temporary(name) || !name.starts_with(of)) continue;
    std::error_code ignored;  // a leftover that cannot be removed is no error
    removed += fs::remove_all(entry.path(), ignored) > 0;
  }
  return removed;
}

}  // namespace

int remove_stale_temporaries(const fs::path& folder) { return remove_temporaries(folder, ""); }

int remove_stale_temporaries_of(const fs::path& file) {
  return remove_temporaries(folder_of(file), file.filename().string() + ".tmp-");
}

namespace {

// Calls take(block) for one block of the file after the other.
template <class F>
void read_blocks(const fs::path& path, const F& take) {
  struct Descriptor {
    int number;
    ~Descriptor() { close(number); }
  };
  const int opened = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) fail("read", path, errno);
  const Descriptor file{opened};
  std::string block(1 << 18, '\0');
  for (;;) {
    check_interrupt();
    const ssize_t n = read(file.number, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read", path, errno);
    if (n == 0) return;
    take(std::string_view(block).substr(0, size_t(n)));
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::string bytes;
  read_blocks(path, [&](std::string_view block) { bytes.append(block); });
  return bytes;
}

FileSum sum_of_file(const fs::path& path) {
  FileSum sum;
  read_blocks(path, [&](std::string_view block) {
    sum.size += block.size();
    sum.crc = crc32c(block, sum.crc);
  });
  return sum;
}

}  // namespace fm
