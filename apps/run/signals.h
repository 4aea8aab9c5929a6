// Signals of a program that trains. One process has one set of handlers, hence functions and not objects.
//
//   SIGINT, SIGTERM    stop after the present step: save, exit 75. A second one ends the process at once with 130 or 143, nothing saved.
//   SIGHUP             the same stop, as often as it comes: a closed terminal. Ignored where it was at the start (nohup).
//   SIGUSR1, SIGXCPU   the same stop, as often as it comes: a scheduler's warning, a soft limit of processor time (ulimit -t).
//   SIGUSR2            save and train on.
//   SIGPIPE, SIGXFSZ   ignored, by every program (console.h): the write fails instead.
//
// A time limit (--max-time) asks for the same stop.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

namespace fm {

void install_signal_handlers();  // also forgets earlier requests and the time limit

void set_time_limit(double seconds, std::string label);  // counted from now; label: "--max-time 1h50m"

// Another process that works with this one was asked to stop, and said why: this one stops too. Any thread may call it; the first call counts.
void request_stop(const std::string& reason);

bool stop_requested();

// For long work outside the training loop (encoding, evaluation), where there is nothing to save: run_program ends with 75. The library's own
// loops call it too, on the thread that installed the handlers (tensor/interrupt.h); the training loop holds that off.
struct StopRequested : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void throw_if_stop_requested();
std::string stop_reason();  // "SIGTERM", "--max-time 1h50m"; empty when nothing asks for a stop

// The signals that ask for a stop, by name: ranks agree on one by its place here.
extern const std::array<std::pair<int, const char*>, 5> stop_signals;

bool take_save_request();  // true once for each SIGUSR2 (several before a look are one)

}  // namespace fm
