#include "apps/cli/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "apps/cli/program.h"

namespace fm {
namespace {

int result_error = 0;              // errno of the first result that could not be written
bool only_copy = false;            // whether one of the results so far is in no file

bool reader_is_gone(int error) { return error == EPIPE || (error == EIO && isatty(STDOUT_FILENO)) || error == EBADF; }

void on_bus_error(int) {
  constexpr char text[] = "\nerror: a mapped file cannot be read any more: the disk failed, or another program shortened the file\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  _exit(exit_code::unreadable);
}

}  // namespace

void guard_standard_files() {
  for (int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
      [[maybe_unused]] const int same = open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY);   // opens this descriptor, the lowest free one
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGBUS, on_bus_error);
}

bool write_text(FILE* to, std::string_view text) noexcept { return std::fwrite(text.data(), 1, text.size(), to) == text.size(); }

void print_error(const char* program, const char* message) noexcept { std::fprintf(stderr, "%s: error: %s\n", program, message); }

void write_result(std::string_view text, Copies copies) {
  only_copy = only_copy || copies == Copies::none;
  errno = 0;
  if (!write_text(stdout, text) && result_error == 0) result_error = errno != 0 ? errno : EIO;
}

void flush_results() noexcept {
  errno = 0;
  if (std::fflush(stdout) != 0 && result_error == 0) result_error = errno != 0 ? errno : EIO;
}

int end_results(const char* program, int code) noexcept {
  flush_results();
  if (result_error == 0 || reader_is_gone(result_error)) return code;
  std::fprintf(stderr, "%s: %s: standard output cannot be written: %s\n", program, only_copy ? "error" : "warning", std::strerror(result_error));
  return code == 0 && only_copy ? 1 : code;
}

}  // namespace fm
