// Facts that Meson writes at configure time, and the git hash, which it refreshes at each build.
#include "apps/support/build_info.h"

#include "build_facts.h"
#include "git_hash.h"

namespace fm {

const BuildInfo& build_info() {
  static const BuildInfo info{FM_VERSION, FM_GIT_HASH, FM_COMPILER, FM_BUILD_FLAGS};
  return info;
}

}  // namespace fm
