// The system failed to open, read or write a file, for the given reason. This proves nothing about the file's contents: an unreadable
// file may be whole.
#pragma once

#include <cerrno>
#include <filesystem>

#include "tensor/error.h"

namespace fm {

struct SystemFileError : FileError {
  // "cannot read runs/a/x.safetensors: Input/output error". `error` is an errno; limits of the process are added to it.
  SystemFileError(const char* what, const std::filesystem::path& path, int error);

  bool is_missing() const { return code == ENOENT || code == ENOTDIR; }
  int code;
};

// "Too many open files: the limit is 1024 (ulimit -n)": an errno in words, with the limit that was reached, if there is one.
std::string system_text(int error);

}  // namespace fm
