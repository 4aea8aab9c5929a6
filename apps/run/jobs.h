// Runs the trainings of an ablation in processes of their own, several at a time. For networks so small that a second thread slows a step, two
// processes with one thread each train twice as fast.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "apps/cli/program.h"

namespace fm {

// The command line of the process for training `trial`: `command_line` with --trial, -q and, if it has no --threads, the number of threads with which
// `jobs` processes share the cores.
std::vector<std::string> job_command_line(const std::vector<std::string>& command_line, std::size_t trial, std::int64_t jobs, std::int64_t cores);

// Makes these trainings, `jobs` at a time, in the given order, and returns when all processes have ended. The result of a training is in its folder. The
// caller must repeat and report a failed training. A stop request to this process is passed on to the others. Error if a process cannot
// be started.
void train_in_processes(const Context& context, const std::vector<std::size_t>& trials, std::int64_t jobs);

// Called in a process that train_in_processes() started: if its parent is killed, this process gets a stop signal, saves and ends.
void stop_with_parent();

}  // namespace fm
