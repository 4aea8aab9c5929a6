// Signals of a program that trains. One process has one set of handlers, hence functions and not objects.
//
//   SIGINT, SIGTERM    stop after the present step: save, exit 75. A second one ends the process at once with 130 or 143, nothing saved.
//   SIGHUP             the same stop, also when repeated: a closed terminal. Ignored if it was ignored at the start (nohup).
//   SIGUSR1, SIGXCPU   the same stop, also when repeated: a scheduler's warning, a soft limit of processor time (ulimit -t).
//   SIGUSR2            save and continue.
//   SIGPIPE, SIGXFSZ   ignored, by every program (console.h): the write fails instead.
//
// A time limit (--max-time) requests the same stop.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

namespace fm {

void install_signal_handlers();  // also clears earlier requests and the time limit

void set_time_limit(double seconds, std::string label);  // counted from now; label: "--max-time 1h50m"

// Requests a stop because another process of this training got a stop request, for this reason. Any thread may call it; the first call counts.
void request_stop(const std::string& reason);

bool stop_requested();

// Ends long work outside the training loop (encoding, evaluation), which has nothing to save; run_program then returns 75. The library's own loops
// throw it too, on the thread that installed the handlers (tensor/interrupt.h). The training loop suspends these checks.
struct StopRequested : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void throw_if_stop_requested();
std::string stop_reason();  // "SIGTERM", "--max-time 1h50m"; empty without a stop request

// The signals that request a stop, with their names. Ranks send each other the index of a signal in this list.
extern const std::array<std::pair<int, const char*>, 5> stop_signals;

bool take_save_request();  // true once for each SIGUSR2 (several between two calls count once)

}  // namespace fm
