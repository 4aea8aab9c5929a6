// Describes this build, for --version and run.json.
#pragma once

#include <string>

namespace fm {

struct BuildInfo {
  std::string version;   // "0.1.0"
  std::string git;       // "1a2b3c4d5e6f" or "1a2b3c4d5e6f-dirty"; "unknown" outside a checkout
  std::string compiler;  // "gcc 12.2.0"
  std::string flags;     // "buildtype=release optimization=3 ..."
};
const BuildInfo& build_info();

// The properties of build and machine that decide the bits of results: git hash, compiler, flags, instruction set, device. For a changed tree, and a
// build outside a checkout, also the checksum of the program's file.
std::string numerics_of_build();

}  // namespace fm
