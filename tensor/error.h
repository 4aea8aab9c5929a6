// Errors by kind. Each message is one line: the operation, the numbers that disagree, and the remedy if there is one.
#pragma once

#include <stdexcept>
#include <string>

namespace fm {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error { using Error::Error; };      // shapes or indices that do not fit
struct DTypeError : Error { using Error::Error; };      // a wrong element type
struct DeviceError : Error { using Error::Error; };     // a missing device or instruction set
struct FileError : Error { using Error::Error; };       // a file that cannot be read, written or understood
struct ConfigError : Error { using Error::Error; };     // a flag, key or value that the user gave
struct AutodiffError : Error { using Error::Error; };   // a misuse of tapes or derivatives, or a failed derivative check
struct DivergedError : Error { using Error::Error; };   // a loss or gradient that is not finite

}  // namespace fm
