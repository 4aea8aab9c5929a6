// Checks early whether threads can be started.
#pragma once

#include <string>

namespace fm {

// "no thread could be started: Resource temporarily unavailable: the limit of processes is 40 (ulimit -u)"
std::string no_thread_text();

// Starts `count` threads at once and ends them. Throws Error with no_thread_text(). OpenMP, which has no error to catch, ends the process with a
// line of its own where it cannot start its threads.
void try_threads(int count);

}  // namespace fm
