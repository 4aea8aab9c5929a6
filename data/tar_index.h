// What a shard of WebDataset holds, and the file that keeps it: made once by walking the shard's headers, checked whenever it is read.
//
// A sample is a run of members that agree up to the first dot of the file name, its key: one picture (KEY.jpg, .jpeg, .png, .webp), and the label
// as KEY.cls (a whole number as text) or as "label" of KEY.json. Members of other endings are passed over, and hidden files.
//
// The index, little-endian: "fmtarix1" | u64 size and i64 time of change (ns) of the shard | u64 n | n samples of 24 bytes | u32 crc32c of all before
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct TarSample {
  std::uint64_t offset;      // of the picture's bytes; its header is the 512 bytes before
  std::uint32_t size;
  std::uint32_t header_crc;  // of that header: name, size, ...; stands for the picture in fingerprints
  std::int32_t label;        // -1: none
  std::uint32_t webp;        // 1: a .webp
};

struct TarIndex {
  std::uint64_t bytes = 0;   // of the shard
  std::int64_t changed = 0;
  std::vector<TarSample> samples;
};

// FileError names shard and member: what TarReader refuses; a sample without a picture or with two, a key twice, members of a sample apart from each
// other, a label that is no whole number from 0 on.
TarIndex scan_tar(const std::filesystem::path& shard);

std::string tar_index_bytes(const TarIndex& index);
// Nothing where the bytes are no whole index with samples inside the shard.
std::optional<TarIndex> parse_tar_index(std::string_view bytes);

// The index in `file`, or where there is none that fits the shard's size and time of change, a new one, which is then written there. `problem` gets
// the reason where it cannot be written.
TarIndex tar_index(const std::filesystem::path& shard, const std::filesystem::path& file, std::string& problem);

}  // namespace fm
