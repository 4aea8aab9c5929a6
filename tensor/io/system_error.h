// A file that the system did not let us open, read or write, with the system's reason. It says nothing about the file's contents: what cannot
// be read now may be whole.
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

// "Too many open files: the limit is 1024 (ulimit -n)": an errno in words, with the limit that was reached where there is one.
std::string system_text(int error);

}  // namespace fm
