// Lets ranks find each other without a known address: rank 0 writes its address to a file in a folder that all ranks share. The name of the file
// contains the name of the job. The file appears complete or not at all (temporary name, fsync, rename). Readers check length and checksum,
// because a network file system may show a part of it.
//
// The bytes may contain a secret, so the file is made with mode 0600: only its owner can read it. A file of another user, or one
// that other users may read, is rejected.
#pragma once

#include <filesystem>
#include <string>

namespace fm {

struct FileRendezvous {
  std::filesystem::path folder;
  std::string job;  // files of other jobs are not touched
  std::filesystem::path file() const;
};

// Writes the file. FileError if that fails, or if the file system lets other users read it.
void leave_at(const FileRendezvous& where, const std::string& bytes);
// Returns the bytes from rank 0. Empty if the file is missing, incomplete or rejected: then *why gives the reason.
std::string look_at(const FileRendezvous& where, std::string* why);
// Removes the file. Called when all ranks have read it.
void clear(const FileRendezvous& where);

}  // namespace fm
