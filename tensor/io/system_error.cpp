#include "tensor/io/system_error.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cstring>

namespace fm {
namespace {

std::string limit_text(int resource, const char* unit, const char* flag) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "";
  return fmt::format(": the limit is {}{} (ulimit {})", limit.rlim_cur, unit, flag);
}

}  // namespace

std::string system_text(int error) {
  const std::string text = std::strerror(error);
  if (error == EMFILE) return text + limit_text(RLIMIT_NOFILE, "", "-n");
  if (error == EFBIG) return text + limit_text(RLIMIT_FSIZE, " bytes", "-f");
  return text;
}

SystemFileError::SystemFileError(const char* what, const std::filesystem::path& path, int error)
    : FileError(fmt::format("cannot {} {}: {}", what, path.string(), system_text(error))), code(error) {}

}  // namespace fm
