// Zip archives (PKWARE APPNOTE 6.3), with the 64-bit records: the container of .npz files and PyTorch checkpoints.
// The writer stores members without compression, one after the other, their bytes at multiples of 64; it fills in sizes and checksums afterwards.
// The reader supports stored and deflated members.
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
  std::uint64_t header = 0;                // position of its local header in the file
};

// Writes an archive, which appears under its name, complete, with finish(). Without finish() there is no file.
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
  // Throws FileError with file and reason if the file is no zip file, is truncated, has several volumes, or has overlapping or impossible entries.
  explicit ZipReader(const std::filesystem::path& path);

  const std::vector<ZipMember>& members() const { return members_; }
  const ZipMember* find(std::string_view name) const;  // null if no member has this name
  // Returns the unpacked bytes of a member and verifies their checksum. FileError if a member of more than 64 MiB is larger than 16 times its
  // packed size: a few kilobytes must not become gigabytes.
  std::string read(const ZipMember& member) const;
  // Returns the bytes of a stored member in the mapped file, without verifying the checksum. They are valid while the reader lives.
  std::string_view view(const ZipMember& member) const;
  void verify(const ZipMember& member) const;  // FileError if a stored member's checksum is wrong; a checksum of 0 stands for none
  const std::filesystem::path& path() const { return path_; }
  // Keeps the mapped file open after the reader is gone.
  const std::shared_ptr<std::byte>& owner() const { return file_.data; }
  // Keeps the bytes of `view` mapped. When their last owner is gone, their pages are released to the system (mapped_file.h).
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
