// Ranks as threads of one process, for tests. A thread that unwinds without finish() is a rank that failed; kill() is one that died.
#pragma once

#include <functional>
#include <memory>

#include "tensor/collectives/message_communicator.h"

namespace fm {

class ThreadHub;

// The meeting place of `size` ranks.
std::shared_ptr<ThreadHub> make_thread_hub(int size);
std::unique_ptr<Channel> open_thread_channel(const std::shared_ptr<ThreadHub>& hub, int rank);
// From now on this rank sends and receives nothing, and the others see that it is gone (or, silently, see nothing).
void kill_rank(ThreadHub& hub, int rank, bool silently);

// Runs f(communicator of rank r) for each rank on its own thread, then rethrows the exception of the first failed rank.
void run_ranks(int size, const std::function<void(Communicator&)>& f);

}  // namespace fm
