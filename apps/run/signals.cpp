// Signal handlers that only set flags, apart from the second request.
#include "apps/run/signals.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>

#include "tensor/interrupt.h"

namespace fm {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(std::atomic<int>::is_always_lock_free);  // the only atomics a handler may touch
std::atomic<int> stop_signal{0};                       // the first signal that requested a stop
std::atomic<int> asked_to_stop{0};                     // SIGINT or SIGTERM has come: a second one ends the process
std::atomic<int> save_asked{0};
std::atomic<int> other_asked{0};
std::mutex other_mutex;
std::string other_reason;                              // the argument of request_stop(). It is no signal, so the first signal to this process still only requests a stop
bool has_limit = false;
Clock::time_point limit;
std::string limit_label;

void on_stop(int signal) {
  int none = 0;
  stop_signal.compare_exchange_strong(none, signal);
  if (signal != SIGINT && signal != SIGTERM) return;      // the system may repeat the others by itself
  if (asked_to_stop.exchange(1) == 0) return;
  constexpr char text[] = "\nsecond signal: exiting at once, nothing saved\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  _exit(128 + signal);  // 130 for SIGINT, 143 for SIGTERM
}

void on_save(int) { save_asked = 1; }

bool is_ignored(int signal) {
  struct sigaction present {};
  return sigaction(signal, nullptr, &present) == 0 && present.sa_handler == SIG_IGN;
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

const std::array<std::pair<int, const char*>, 5> stop_signals{
    {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGHUP, "SIGHUP"}, {SIGXCPU, "SIGXCPU"}}};

void install_signal_handlers() {
  stop_signal = 0;
  asked_to_stop = 0;
  save_asked = 0;
  has_limit = false;
  {
    const std::lock_guard lock(other_mutex);
    other_asked = 0, other_reason.clear();
  }
  for (const auto& [signal, name] : stop_signals)
    if (signal != SIGHUP || !is_ignored(signal)) install(signal, on_stop);
  install(SIGUSR2, on_save);
  set_interrupt_check(throw_if_stop_requested);
}

void set_time_limit(double seconds, std::string label) {
  limit = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  limit_label = std::move(label);
  has_limit = true;
}

void request_stop(const std::string& reason) {
  const std::lock_guard lock(other_mutex);
  if (!other_asked.exchange(1)) other_reason = reason;
}

bool stop_requested() { return stop_signal != 0 || other_asked != 0 || (has_limit && Clock::now() >= limit); }

std::string stop_reason() {
  for (const auto& [signal, name] : stop_signals)
    if (stop_signal == signal) return name;
  if (has_limit && Clock::now() >= limit) return limit_label;
  if (!other_asked) return "";
  const std::lock_guard lock(other_mutex);
  return other_reason;
}

void throw_if_stop_requested() {
  if (stop_requested()) throw StopRequested("stopped by " + stop_reason() + "; the same command resumes from the last checkpoint");
}

bool take_save_request() { return save_asked.exchange(0) != 0; }

}  // namespace fm
