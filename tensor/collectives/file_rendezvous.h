// Ranks find each other without a known address: rank 0 writes a few bytes (its address) to a folder that all ranks share, under a
// name that contains the job's. The file appears at once or not at all (temporary name, fsync, rename). Readers check length and checksum, because
// a file system between machines may show less.
//
// The bytes may contain a secret, so only the owner can read the file (mode 0600) from its first moment. A file of another owner, or one that others may
// read, is rejected.
#pragma once

#include <filesystem>
#include <string>

namespace fm {

struct FileRendezvous {
  std::filesystem::path folder;
  std::string job;  // others' files are left alone
  std::filesystem::path file() const;
};

// FileError: it cannot be written, or the file system does not keep it from others.
void leave_at(const FileRendezvous& where, const std::string& bytes);
// Rank 0's bytes; empty if missing or incomplete: then *why gives the reason.
std::string look_at(const FileRendezvous& where, std::string* why);
// When all ranks have it.
void clear(const FileRendezvous& where);

}  // namespace fm
