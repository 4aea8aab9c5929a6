#include "apps/run/jobs.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

#include "apps/run/signals.h"
#include "tensor/error.h"

extern char** environ;

namespace fm {
namespace {

constexpr auto between_looks = std::chrono::milliseconds(50);

pid_t start(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t process = 0;
  if (const int error = posix_spawn(&process, "/proc/self/exe", nullptr, nullptr, argv.data(), environ); error != 0)
    throw Error(fmt::format("--jobs: cannot start a process: {}", std::strerror(error)));
  return process;
}

// Removes ended processes from the list.
void look(std::map<pid_t, std::size_t>& running, Messages& log) {
  for (auto it = running.begin(); it != running.end();) {
    int status = 0;
    if (waitpid(it->first, &status, WNOHANG) == 0) {
      ++it;
      continue;
    }
    const bool well = WIFEXITED(status) && (WEXITSTATUS(status) == exit_code::finished || WEXITSTATUS(status) == exit_code::stopped_early);
    if (!well) log.warning("training {} of the list ended with {} {}", it->second + 1, WIFEXITED(status) ? "exit code" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    it = running.erase(it);
  }
}

}  // namespace

void stop_with_parent() { prctl(PR_SET_PDEATHSIG, SIGUSR1); }

std::vector<std::string> job_command_line(const std::vector<std::string>& command_line, std::size_t trial, std::int64_t jobs, std::int64_t cores) {
  std::vector<std::string> out = command_line;
  out.insert(out.end(), {"--trial", std::to_string(trial), "-q"});
  const bool has_threads = std::any_of(out.begin(), out.end(), [](const std::string& a) { return a == "--threads" || a.starts_with("--threads="); });
  if (!has_threads) out.insert(out.end(), {"--threads", std::to_string(std::max<std::int64_t>(1, cores / jobs))});
  return out;
}

void train_in_processes(const Context& context, const std::vector<std::size_t>& trials, std::int64_t jobs) {
  const std::int64_t cores = std::thread::hardware_concurrency();
  std::map<pid_t, std::size_t> running;
  bool told_to_stop = false;
  std::size_t next = 0, done = 0;
  while (next < trials.size() || !running.empty()) {
    if (stop_requested()) {
      next = trials.size();
      for (const auto& job : running)
        if (!told_to_stop) kill(job.first, SIGUSR1);                 // harmless if a terminal's Ctrl-C reaches the processes as well
      told_to_stop = true;
    }
    while (next < trials.size() && running.size() < static_cast<std::size_t>(jobs)) {
      running.emplace(start(job_command_line(context.command_line, trials[next], jobs, cores)), trials[next]);
      ++next;
    }
    const std::size_t before = running.size();
    look(running, context.log);
    if (running.size() == before) std::this_thread::sleep_for(between_looks);
    else context.log.info("{} of {} trainings done", done += before - running.size(), trials.size());
  }
}

}  // namespace fm
