// Zip archives (PKWARE APPNOTE 6.3), with the 64-bit records: the container of .npz files and PyTorch checkpoints.
// Written: stored members only, one after the other, their bytes at multiples of 64; sizes and checksums filled in afterwards. Read: stored
// and deflated members.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/atomic_file.h"
#include "tensor/io/mapped_file.h"

namespace fm {

struct ZipMember {
  std::string name;
  int method = 0;  // 0 stored, 8 deflated
  bool encrypted = false;
  std::uint32_t crc = 0;
  std::uint64_t compressed = 0, size = 0;  // bytes
  std::uint64_t header = 0;                // place of its local header in the file
};

// The archive appears under its name with finish(), complete, or not at all.
class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path);

  // Starts a member whose first `head_size` bytes are given later, to end(): a header that depends on the member's length.
  void begin(const std::string& name, std::size_t head_size = 0);
  void write(std::string_view bytes);
  void end(std::string_view head = {});
  void finish();

 private:
  void append(std::string_view bytes);
  AtomicFile file_;
  std::uint64_t size_ = 0;  // of the file so far
  std::vector<ZipMember> members_;
  std::size_t head_size_ = 0;
  std::uint64_t body_size_ = 0;
  bool open_ = false;
};

class ZipReader {
 public:
  // FileError naming file and reason: not a zip file, cut off, several volumes, overlapping or impossible entries.
  explicit ZipReader(const std::filesystem::path& path);

  const std::vector<ZipMember>& members() const { return members_; }
  const ZipMember* find(std::string_view name) const;  // nullptr if there is none
  // The member's bytes, unpacked, checksum verified. FileError for more than 64 MiB if that exceeds 16 times the packed size: a few
  // kilobytes must not become gigabytes.
  std::string read(const ZipMember& member) const;
  // The bytes of a stored member where they lie in the mapped file (no checksum); valid while the reader lives.
  std::string_view view(const ZipMember& member) const;
  void verify(const ZipMember& member) const;  // FileError if a stored member's checksum is wrong (0: no checksum)
  const std::filesystem::path& path() const { return path_; }
  // Keeps the mapped file open after the reader is gone.
  const std::shared_ptr<std::byte>& owner() const { return file_.data; }
  // The same, and the pages of `view` are released to the system with its last owner (mapped_file.h).
  std::shared_ptr<std::byte> owner_of(std::string_view view) const;

 private:
  [[noreturn]] void fail(const std::string& reason) const;
  void check_method(const ZipMember& member) const;
  void read_directory();
  void check_overlaps() const;
  void check_crc(const ZipMember& member, std::string_view bytes) const;
  std::string_view packed(const ZipMember& member) const;
  std::filesystem::path path_;
  MappedFile file_;
  std::vector<ZipMember> members_;
};

}  // namespace fm
