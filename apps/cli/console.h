// Text for a terminal, a pipe or a file that may be gone. fmt::print throws when it cannot write; a handler that then reports the error by
// fmt::print throws again, and the program aborts. Nothing here throws for a failed write.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace fm {

// At the start of every program. Opens /dev/null for closed descriptors 0, 1 and 2: the next file that is opened would take the number, and
// messages would go into a checkpoint. Ignores SIGPIPE and SIGXFSZ: a write then fails with EPIPE or EFBIG, which is handled where it is made.
// SIGBUS, which is what a mapped file gives when its disk fails or when another program shortens it, becomes a line and exit code 3.
void guard_standard_files();

// False: the text was not written, or only in part.
bool write_text(FILE* to, std::string_view text) noexcept;

// "name: error: message" on stderr, without an allocation.
void print_error(const char* program, const char* message) noexcept;

// Whether what stands on stdout is also in a file.
enum class Copies { none, in_a_file };
void write_result(std::string_view text, Copies copies);

// A result that exists on stdout alone (help, the tables of inspect).
template <class... Args>
void print_result(fmt::format_string<Args...> text, Args&&... args) {
  write_result(fmt::format(text, std::forward<Args>(args)...), Copies::none);
}
// A result that a file holds too (scores, tables of ablations).
template <class... Args>
void print_copy(fmt::format_string<Args...> text, Args&&... args) {
  write_result(fmt::format(text, std::forward<Args>(args)...), Copies::in_a_file);
}

void flush_results() noexcept;      // so that a row is seen when it is known

// At the end of every program: flushes stdout and returns the exit code. A reader that has gone away (EPIPE, EIO of a closed terminal) changes
// nothing. Any other failure is reported in one line, and turns 0 into 1 if a lost result is in no file.
int end_results(const char* program, int code) noexcept;

}  // namespace fm
