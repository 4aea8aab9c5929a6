#include "autodiff/jvp.h"

namespace fm {
namespace {
thread_local TangentMode mode = TangentMode::none;
}

TangentMode tangent_mode() { return mode; }

namespace detail {

TangentScope::TangentScope(TangentMode wanted) {
  if (mode != TangentMode::none) throw AutodiffError("jvp inside a jvp: only one level of tangents is supported; differentiate the inner value by backward instead");
  mode = wanted;
}
TangentScope::~TangentScope() { mode = TangentMode::none; }

}  // namespace detail
}  // namespace fm
