// Unpacks a gzip file (RFC 1952) into memory; zlib checks its CRC-32 and length. A file that is not gzip is returned unchanged. FileError: the file
// cannot be read or is damaged, or the result has more than 64 MiB and more than 16 times the file's bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace fm {

std::vector<std::uint8_t> read_gzip(const std::filesystem::path& path);

}  // namespace fm
