// The contents of a WebDataset shard, and its index file, which is made once from the shard's headers and checked whenever it is read.
//
// A sample is a run of members with the same key, the file name up to its first dot: one image (KEY.jpg, .jpeg, .png, .webp), and the label
// as KEY.cls (a whole number as text) or as "label" of KEY.json. Members with other endings are skipped, and so are hidden files.
//
// The index, little-endian:
//   "fmtarix1" | u64 size and i64 time of change (ns) of the shard | u64 n | n samples of 24 bytes | u32 crc32c of all bytes before it
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct TarSample {
  std::uint64_t offset;      // position of the image's bytes; the header is the 512 bytes before them
  std::uint32_t size;
  std::uint32_t header_crc;  // of that header: name, size, ...; represents the image in fingerprints
  std::int32_t label;        // -1: none
  std::uint32_t webp;        // 1: a .webp
};

struct TarIndex {
  std::uint64_t bytes = 0;   // size of the shard
  std::int64_t changed = 0;
  std::vector<TarSample> samples;
};

// FileError names shard and member: the errors of TarReader; a sample without an image or with two, a repeated key, separated members of one
// sample, a label that is not a whole number from 0 on.
TarIndex scan_tar(const std::filesystem::path& shard);

std::string tar_index_bytes(const TarIndex& index);
// No value if the bytes are not a complete index with samples inside the shard.
std::optional<TarIndex> parse_tar_index(std::string_view bytes);

// The index in `file`. If none fits the shard's size and modification time, makes a new one and writes it there. `problem` receives
// the reason if writing fails.
TarIndex tar_index(const std::filesystem::path& shard, const std::filesystem::path& file, std::string& problem);

}  // namespace fm
