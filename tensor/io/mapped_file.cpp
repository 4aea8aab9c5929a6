#include "tensor/io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "tensor/io/system_error.h"

namespace fm {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error) { throw SystemFileError("read", path, error); }

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

// Advises the system about the whole pages in the range; it may ignore the advice.
void advise_pages(std::byte* begin, std::byte* end, int advice) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page;
  const std::uintptr_t last = reinterpret_cast<std::uintptr_t>(end) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, advice);
}

// Asks the system to take pages back. The contents stay the same: modified pages are kept, others are read again when touched.
void give_back(std::byte* begin, std::byte* end) {
#ifdef MADV_PAGEOUT
  advise_pages(begin, end, MADV_PAGEOUT);
#else
  (void)begin, (void)end;
#endif
}

}  // namespace

std::shared_ptr<std::byte> MappedFile::part(std::size_t begin, std::size_t end) const {
  return {data.get() + begin, [file = data, size = end - begin](std::byte* p) { give_back(p, p + size); }};
}

void MappedFile::forget(std::size_t begin, std::size_t end) const { advise_pages(data.get() + begin, data.get() + end, MADV_DONTNEED); }

MappedFile map_file(const std::filesystem::path& path) {
  // O_NONBLOCK: without it, opening a named pipe would wait for its writer. With it, the pipe is refused below.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) fail(path, errno);
  struct stat status;
  if (fstat(file.number, &status) != 0) fail(path, errno);
  if (S_ISDIR(status.st_mode)) fail(path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw FileError(fmt::format("cannot read {}: not a regular file", path.string()));
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return {};
  // MAP_NORESERVE, because the file may be larger than memory: only pages that are written to need memory.
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.number, 0);
  if (at == MAP_FAILED) fail(path, errno);
  return {{static_cast<std::byte*>(at), [size](std::byte* p) { munmap(p, size); }}, size};
}

}  // namespace fm
