// Runs a program of this build as a user would, with its output in files.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

namespace fm::test {

using Arguments = std::vector<std::string>;
inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Result {
  int code;                            // exit code; 1000 + number of the signal if a signal ended the program
  std::string out, err;
};

// The folder of the running test program.
inline std::filesystem::path own_folder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

// `during` gets the process id while the program runs.
inline Result run_program_file(const std::filesystem::path& program, Arguments arguments, const std::function<void(pid_t)>& during = {}) {
  const TempFolder folder;
  const std::string out = (folder / "out").string(), err = (folder / "err").string();
  arguments.insert(arguments.begin(), program.filename().string());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const auto redirect = [](int descriptor, const std::string& file) {
      dup2(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), descriptor);
    };
    for (int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXCPU}) ::signal(signal, SIG_DFL);     // nohup and `&` ignore some of them
    setenv("OMP_WAIT_POLICY", "passive", 1);                           // on a busy machine spinning threads keep each other from running
    redirect(STDOUT_FILENO, out);
    redirect(STDERR_FILENO, err);
    execv(program.c_str(), argv.data());
    _exit(99);
  }
  if (during) during(child);
  int status = 0;
  waitpid(child, &status, 0);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return {code, read_file(out), read_file(err)};
}

// Runs a line of the shell, in which "$0" is the program: for pipes, closed descriptors and limits.
inline Result run_shell(const std::string& line, const std::filesystem::path& program, const std::function<void(pid_t)>& during = {}) {
  return run_program_file("/bin/sh", {"-c", line, program.string()}, during);
}

// Waits until happened() holds, for instance for a child. Returns false after 5 minutes, a limit for busy machines: tests have timeouts of their own.
inline bool wait_until(const std::function<bool()>& happened) {
  const auto since = std::chrono::steady_clock::now();
  for (; std::chrono::steady_clock::now() - since < std::chrono::minutes(5); std::this_thread::sleep_for(std::chrono::milliseconds(1)))
    if (happened()) return true;
  return false;
}

// Whether a signal was sent to the process and has not reached it yet. A second signal of the same kind would be merged with it.
inline bool is_pending(pid_t process, int signal) {
  const std::string status = read_file("/proc/" + std::to_string(process) + "/status");
  for (const char* set : {"\nSigPnd:", "\nShdPnd:"})
    if (const auto at = status.find(set); at != std::string::npos && std::stoull(status.substr(at + 8), nullptr, 16) >> (signal - 1) & 1) return true;
  return false;
}

}  // namespace fm::test
