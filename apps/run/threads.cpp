#include "apps/run/threads.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <condition_variable>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "tensor/error.h"

namespace fm {

std::string no_thread_text() {
  rlimit limit{};
  const bool known = getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return fmt::format("no thread could be started: {}: {}", std::strerror(EAGAIN),
                     known ? fmt::format("the limit of processes is {} (ulimit -u)", limit.rlim_cur)
                           : std::string("the system's or the container's limit of processes (ulimit -u, pids.max) is reached"));
}

void try_threads(int count) {
  std::mutex mutex;
  std::condition_variable changed;
  bool end = false;
  std::vector<std::thread> threads;
  const auto finish = [&] {
    {
      const std::lock_guard lock(mutex);
      end = true;
    }
    changed.notify_all();
    for (std::thread& t : threads) t.join();
  };
  try {
    for (int i = 0; i < count; ++i)
      threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return end; });
      });
  } catch (const std::system_error&) {
    const std::size_t started = threads.size();
    finish();
    throw Error(fmt::format("{}; {} of {} started: raise the limit, or give fewer --threads", no_thread_text(), started, count));
  }
  finish();
}

}  // namespace fm
