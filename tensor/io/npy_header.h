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
  std::optional<FileType> type;     // none: `why` says what the elements are and what to do
  std::string why;
  bool big_endian = false, fortran = false;
  std::vector<std::int64_t> shape;
  std::size_t size = 0;             // bytes before the values
};

// Of a file's first bytes. Read are versions 1 to 3 and what NumPy reads of Python 2's (a shape of (3L, 4L)). FileError "<name>: ...": no such
// file, cut off, a header that is no such dictionary. UnreadError: no array of NumPy's at all.
NpyHeader parse_npy_header(std::string_view bytes, const std::string& name);

}  // namespace fm
