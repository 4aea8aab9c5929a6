// Ranks as threads of one process, for tests. A thread that ends without finish() is a rank that failed. kill_rank() makes a rank die.
#pragma once

#include <functional>
#include <memory>

#include "tensor/collectives/message_communicator.h"

namespace fm {

class ThreadHub;

// Makes the hub through which `size` ranks exchange messages.
std::shared_ptr<ThreadHub> make_thread_hub(int size);
std::unique_ptr<Channel> open_thread_channel(const std::shared_ptr<ThreadHub>& hub, int rank);
// Kills a rank: from now on it sends and receives nothing. The other ranks get the notice "gone", unless `silently` is true.
void kill_rank(ThreadHub& hub, int rank, bool silently);

// Runs f(communicator of rank r) for each rank on its own thread, then rethrows the exception of the first failed rank.
void run_ranks(int size, const std::function<void(Communicator&)>& f);

}  // namespace fm
