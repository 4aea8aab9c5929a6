// Element types of files. The engine has six types (tensor/dtype.h), files have more. Elements of a file become the type on the right, which holds
// all their values exactly:
//
//   f16, f8 (E4M3, E5M2, their FNUZ forms, E8M0)    f32
//   i8, i16, u16                                    i32
//   u32, u64                                        i64 (a u64 beyond 2^63 - 1 is an error)
//   bool                                            u8
//   complex, quantized, fewer bits than a byte      not read: the error names the type and a remedy
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/tensor.h"

namespace fm {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Thrown for an entry that cannot be read as a tensor, in a file that is otherwise sound. Other entries remain readable.
class UnreadError : public FileError {
 public:
  UnreadError(const std::string& place, const std::string& why) : FileError(place + ": " + why), why_(why) {}
  const std::string& why() const { return why_; }

 private:
  std::string why_;
};

struct UnreadEntry {
  std::string name, why;
};

enum class FileType : std::uint8_t {
  f32, f64, f16, bf16, f8_e4m3, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz, f8_e8m0,
  i8, i16, i32, i64, u8, u16, u32, u64, boolean,
  complex32, complex64, complex128, quantized8, quantized32, f128
};

const char* name_of(FileType type);
std::size_t size_of(FileType type);                 // bytes of an element in the file
std::optional<DType> read_as(FileType type);        // no value if the type cannot be read

// Returns why elements of this type cannot be read, and a remedy: "elements of complex64 cannot be read: save ...".
std::string cannot_read(FileType type);
// The same for a type that is unknown here; `unknown` is its name in the file.
std::string cannot_read(std::string_view unknown);

// Returns the `count` elements at `data`, which `owner` keeps alive, as a vector. The vector is a view if type, alignment and byte order allow it,
// else a converted copy. UnreadError if a value does not fit or the type cannot be read.
Tensor read_elements(const std::shared_ptr<std::byte>& owner, const std::byte* data, std::int64_t count, FileType type, const std::string& place,
                     bool big_endian = false);

}  // namespace fm
