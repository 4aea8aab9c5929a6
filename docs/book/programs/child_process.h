// Runs a function in a child process that is expected to die, and reports which signal killed it.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

// From now on the kernel kills this process (SIGXFSZ) when a file that it writes gets longer than `bytes`.
inline void limit_files(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_FSIZE, &limit);
}

// Runs f in a child process and returns what killed it: "SIGKILL", "SIGXFSZ", "another signal", or "nothing" if f returned.
template <class F> std::string killed_by(F&& f) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    f();
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFSIGNALED(status) ? "nothing" : WTERMSIG(status) == SIGKILL ? "SIGKILL" : WTERMSIG(status) == SIGXFSZ ? "SIGXFSZ" : "another signal";
}
