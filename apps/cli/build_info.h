// Which build this is: goes into --version and run.json.
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

// The parts of build and machine that decide bits: git hash, compiler, flags, instruction set, device. The checksum of the program's file
// identifies a changed tree, or a build outside a checkout.
std::string numerics_of_build();

}  // namespace fm
