// Element types of files. The engine computes with six (tensor/dtype.h); files have more. Each is read as the type here that holds all its
// values exactly, or not at all:
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

// An entry of a sound file that is not a tensor here. An error only for requests of this entry; the others are readable.
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
std::optional<DType> read_as(FileType type);        // no value: unreadable

// Why elements of such a type cannot be read, with a remedy: "elements of complex64 cannot be read: save ...".
std::string cannot_read(FileType type);
// The same of a type that is unknown here, as the file spells it.
std::string cannot_read(std::string_view unknown);

// `count` elements at `data`, which `owner` keeps alive, as a vector: a view of them where type, alignment and byte order allow it, a converted
// copy elsewhere. UnreadError when a value does not fit or the type cannot be read.
Tensor read_elements(const std::shared_ptr<std::byte>& owner, const std::byte* data, std::int64_t count, FileType type, const std::string& place,
                     bool big_endian = false);

}  // namespace fm
