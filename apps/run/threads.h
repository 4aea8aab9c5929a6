// Checks early whether threads can be started.
#pragma once

#include <string>

namespace fm {

// "no thread could be started: Resource temporarily unavailable: the limit of processes is 40 (ulimit -u)"
std::string no_thread_text();

// Starts `count` threads at once and ends them. Throws Error with no_thread_text() if that fails. OpenMP throws nothing: without this
// check it would print a line of its own and end the process.
void try_threads(int count);

}  // namespace fm
