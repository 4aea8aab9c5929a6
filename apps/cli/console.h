// Prints to a terminal, a pipe or a file that may have been closed. fmt::print throws if it cannot write. If the handler of this error uses
// fmt::print too, that throws again and the program aborts. The functions of this file do not throw for a failed write.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace fm {

// Call at the start of every program. Opens /dev/null for closed descriptors 0, 1 and 2: otherwise the next opened file would get the number, and
// messages would go into a checkpoint. Ignores SIGPIPE and SIGXFSZ: a write then fails with EPIPE or EFBIG, which the writing code handles.
// SIGBUS, raised by a mapped file when its disk fails or another program shortens it, becomes a line and exit code 3.
void guard_standard_files();

// Returns false if the text was not written, or only in part.
bool write_text(FILE* to, std::string_view text) noexcept;

// "name: error: message" on stderr, without an allocation.
void print_error(const char* program, const char* message) noexcept;

// Whether the text on stdout is also in a file.
enum class Copies { none, in_a_file };
void write_result(std::string_view text, Copies copies);

// Prints a result that exists only on stdout (help, the tables of inspect).
template <class... Args>
void print_result(fmt::format_string<Args...> text, Args&&... args) {
  write_result(fmt::format(text, std::forward<Args>(args)...), Copies::none);
}
// Prints a result that is also in a file (scores, tables of ablations).
template <class... Args>
void print_copy(fmt::format_string<Args...> text, Args&&... args) {
  write_result(fmt::format(text, std::forward<Args>(args)...), Copies::in_a_file);
}

void flush_results() noexcept;      // writes the buffered results now

// Call at the end of every program: flushes stdout and returns the exit code. A closed pipe or terminal (EPIPE, EIO) is no
// failure. Any other failure is reported in one line, and turns 0 into 1 if a lost result is in no file.
int end_results(const char* program, int code) noexcept;

}  // namespace fm
