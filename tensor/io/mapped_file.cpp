#include "tensor/io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace fm {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* why) {
  throw FileError(fmt::format("cannot read {}: {}", path.string(), why));
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

MappedFile map_file(const std::filesystem::path& path) {
  // Non-blocking: a named pipe is then refused below instead of waited for.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) fail(path, std::strerror(errno));
  struct stat status;
  if (fstat(file.number, &status) != 0) fail(path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(path, std::strerror(EISDIR));
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return {};
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.number, 0);
  if (at == MAP_FAILED) fail(path, std::strerror(errno));
  return {{static_cast<std::byte*>(at), [size](std::byte* p) { munmap(p, size); }}, size};
}

}  // namespace fm
