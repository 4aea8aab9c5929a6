// Uncompressed tar files, member by member: POSIX ustar and pax, GNU's long names, and the header of version 7.
//
// A member is a header of 512 bytes, the file's bytes, and zeros up to the next multiple of 512. Numbers are octal text,
// or base 256 if the first bit is set. The header's checksum is the sum of the header's bytes, where the checksum itself counts as blanks. pax members (x)
// contain the name and size of the following member, GNU's (L) its name. Two headers of zeros end the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/read_at.h"

namespace fm {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0, size = 0;  // position and number of the member's bytes in the file; its header is the 512 bytes before them
  std::uint32_t header_crc = 0;        // crc32c of that header
};

class TarReader {
 public:
  // FileError: the errors of OpenFile, a compressed file, fewer than 512 bytes.
  explicit TarReader(const std::filesystem::path& path);

  // Finds the next regular file; directories are skipped. Returns false at the end. FileError names file, member and position: a wrong checksum,
  // a member beyond the end, a file that is truncated or continues after its end, links, sparse files, devices.
  bool next(TarMember& member);

  // The bytes of a member of at most `most` bytes.
  std::string read(const TarMember& member, std::uint64_t most);

  const OpenFile& file() const { return file_; }

 private:
  struct Pending {           // properties of the following member, from a pax or long-name member
    std::string name;
    std::string size;
  };
  [[noreturn]] void fail(const std::string& what) const;
  std::string_view window(std::uint64_t offset, std::uint64_t n);
  bool read_end();
  bool take_header(TarMember& member, Pending& pending);
  void take_pax(const std::string& records, bool global, Pending& pending) const;
  std::uint64_t number(std::string_view field, const char* what) const;

  std::filesystem::path path_;
  OpenFile file_;
  std::uint64_t at_ = 0;     // position of the next header
  std::string window_;
  std::uint64_t window_at_ = 0;
};

}  // namespace fm
