// Trainings of an ablation in processes of their own, several at a time: of networks so small that a second thread slows a step, two processes of one
// thread train twice as fast.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "apps/cli/program.h"

namespace fm {

// The command line of the process that makes training `trial`, given this one's: its options, quiet, and --threads where they are left open, so that
// `jobs` of them share the cores.
std::vector<std::string> job_command_line(const std::vector<std::string>& command_line, std::size_t trial, std::int64_t jobs, std::int64_t cores);

// Makes these trainings, `jobs` at a time, in the given order, and returns when all processes have ended. The caller finds the result of a training in its
// folder, and must repeat and report a failed one. A stop of this process is passed on to the others. Error if a process cannot
// be started.
void train_in_processes(const Context& context, const std::vector<std::size_t>& trials, std::int64_t jobs);

// For a process that another one started this way: when the parent is killed, this process gets a stop signal, saves and ends.
void stop_with_parent();

}  // namespace fm
