// A gzip file (RFC 1952) unpacked into memory, its CRC-32 and length checked by zlib. A file that is not gzip is returned as it is. FileError:
// cannot be read, damaged, or more than 64 MiB that are more than 16 times the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace fm {

std::vector<std::uint8_t> read_gzip(const std::filesystem::path& path);

}  // namespace fm
