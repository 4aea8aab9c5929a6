// The header of NumPy's array files; of use to npy.cpp.
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
  std::optional<FileType> type;     // no value: `why` names the elements and the remedy
  std::string why;
  bool big_endian = false, fortran = false;
  std::vector<std::int64_t> shape;
  std::size_t size = 0;             // bytes before the values
};

// From a file's first bytes. Supported are versions 1 to 3, and Python 2's variants that NumPy reads (a shape of (3L, 4L)). FileError "<name>: ...": a
// wrong or truncated file, or a header that is not such a dictionary. UnreadError: not a NumPy array at all.
NpyHeader parse_npy_header(std::string_view bytes, const std::string& name);

}  // namespace fm
