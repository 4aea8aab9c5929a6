// Facts that Meson writes at configure time, and the git hash, which it refreshes at each build.
#include "apps/cli/build_info.h"

#include <fmt/format.h>

#include "build_facts.h"
#include "git_hash.h"
#include "tensor/device.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/mapped_file.h"
#include "tensor/kernels/cpu/isa.h"

namespace fm {

const BuildInfo& build_info() {
  static const BuildInfo info{FM_VERSION, FM_GIT_HASH, FM_COMPILER, FM_BUILD_FLAGS};
  return info;
}

std::string numerics_of_build() {
  const BuildInfo& build = build_info();
  std::string git = build.git;
  if (git == "unknown" || git.ends_with("-dirty")) {
    const MappedFile self = map_file("/proc/self/exe");
    git += fmt::format(" {:08x}", crc32c(self.bytes()));
  }
  return fmt::format("{}, {}, {}, {}, {}", git, build.compiler, build.flags, cpu::isa_name(cpu::active_isa()), to_string(default_device()));
}

}  // namespace fm
