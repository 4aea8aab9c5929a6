// How ranks find each other without a known address: rank 0 leaves a few bytes (where it listens) in a folder that all ranks see, under a
// name that holds the job's. They appear at once or not at all (temporary name, fsync, rename); readers check length and checksum, for a
// file system between machines may show less.
//
// The bytes may hold a secret, so the file is its owner's alone (mode 0600) from its first moment, and a file of another owner, or that others may
// read, is not believed.
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
// What rank 0 left; empty when it is not there yet, or not whole: then *why says so.
std::string look_at(const FileRendezvous& where, std::string* why);
// When all ranks have it.
void clear(const FileRendezvous& where);

}  // namespace fm
