// The header of NumPy's array files. Only npy.cpp uses it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/element_type.h"

namespace fm {

constexpr std::string_view npy_magic = "\x93NUMPY";

struct NpyHeader {
  std::optional<FileType> type;     // no value if the type cannot be read: then `why` gives the reason and the remedy
  std::string why;
  bool big_endian = false, fortran = false;
  std::vector<std::int64_t> shape;
  std::size_t size = 0;             // bytes before the values
};

// Parses the first bytes of a file. Supports versions 1 to 3, and the forms of Python 2 that NumPy reads (a shape of (3L, 4L)). Throws FileError
// "<name>: ..." if the file is damaged or truncated or its header is not a dictionary of this form, UnreadError if it is not a NumPy file.
NpyHeader parse_npy_header(std::string_view bytes, const std::string& name);

}  // namespace fm
