// Thrown if the system fails to open, read or write a file. The contents of the file may still be intact.
#pragma once

#include <cerrno>
#include <filesystem>

#include "tensor/error.h"

namespace fm {

struct SystemFileError : FileError {
  // "cannot read runs/a/x.safetensors: Input/output error". `error` is an errno; the limit that was reached, if any, is added.
  SystemFileError(const char* what, const std::filesystem::path& path, int error);

  bool is_missing() const { return code == ENOENT || code == ENOTDIR; }
  int code;
};

// Returns an errno in words, with the limit of the process that was reached, if any: "Too many open files: the limit is 1024 (ulimit -n)".
std::string system_text(int error);

}  // namespace fm
