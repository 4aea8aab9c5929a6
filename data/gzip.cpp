#include "data/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tensor/error.h"

namespace fm {
namespace {

// A result may exceed one of these limits, but not both: a few kilobytes must not become gigabytes.
constexpr std::uint64_t max_unpacked = 64 << 20, max_ratio = 16;

}  // namespace

std::vector<std::uint8_t> read_gzip(const std::filesystem::path& path) {
  errno = 0;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw FileError(fmt::format("{}: cannot open: {}", path.string(), errno ? std::strerror(errno) : "out of memory"));
  gzbuffer(file.get(), 1u << 17);
  std::vector<std::uint8_t> bytes;
  std::size_t used = 0;
  while (true) {
    bytes.resize(std::max<std::size_t>(2 * used, std::size_t(1) << 16));
    const int got = gzread(file.get(), bytes.data() + used, unsigned(std::min<std::size_t>(bytes.size() - used, 1u << 30)));
    int code = Z_OK;
    const char* reason = gzerror(file.get(), &code);
    // For a truncated file zlib returns the existing part and sets Z_BUF_ERROR.
    if (got < 0 || code == Z_BUF_ERROR) {
      throw FileError(fmt::format("{}: corrupt gzip data: {}", path.string(), code == Z_ERRNO ? std::strerror(errno) : reason));
    }
    if (got == 0) break;
    used += std::size_t(got);
    if (used > max_unpacked && used / max_ratio > std::filesystem::file_size(path))
      throw FileError(fmt::format("{}: unpacks to more than {} times its size, which may be a decompression bomb: unpack it with gunzip", path.string(), max_ratio));
  }
  bytes.resize(used);
  return bytes;
}

}  // namespace fm
