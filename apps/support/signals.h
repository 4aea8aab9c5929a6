// Stopping well. The first SIGINT, SIGTERM or SIGUSR1 asks for a stop after the present step (save, exit 75); SIGUSR2 asks for a
// checkpoint without a stop; a second SIGINT or SIGTERM ends the process at once with 130 or 143 and nothing saved. A time limit
// asks for the same stop. One process has one set of handlers, hence functions and not objects.
#pragma once

#include <stdexcept>
#include <string>

namespace fm {

void install_signal_handlers();  // also forgets earlier requests and the time limit

void set_time_limit(double seconds, std::string label);  // counted from now; label: "--max-time 1h50m"

bool stop_requested();

// For long work outside the training loop (encoding, evaluation), where there is nothing to save: run_program ends with 75.
struct StopRequested : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void throw_if_stop_requested();
std::string stop_reason();  // "SIGTERM", "--max-time 1h50m"; empty when nothing asks for a stop

bool take_save_request();  // true once for each SIGUSR2 (several before a look are one)

}  // namespace fm
