// NCCL on the CPU. An operation is two pieces of work on its stream. The first copies this rank's data into memory that all ranks share. The
// second runs after every rank has done the first, and takes the result from there. Between the two the target contains NaN.
//
// A real GPU continues while its host waits for something else. Streams here run only while a thread waits for them, so each communicator has a
// thread that runs them when another rank waits for an operation of this rank.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "executor.h"
#include "memory.h"
#include "nccl_operation.h"

using namespace host_nccl;

namespace {

std::mutex registry_mutex;
auto& registry = *new std::vector<Comm>;  // the targets of ncclComm_t; never destroyed, because a program may end without ncclCommDestroy
thread_local std::string last_words;

ncclResult_t refuse(ncclResult_t status, const std::string& what) {
  last_words = what;
  return status;
}

Comm find(ncclComm_t comm) {
  const std::lock_guard lock(registry_mutex);
  for (const Comm& c : registry)
    if (c.get() == comm) return c;
  return nullptr;
}

// ---- groups ---------------------------------------------------------------------------------------------------------------------------

struct Group {
  int depth = 0;
  Comm comm;
  cudaStream_t stream = nullptr;
  std::vector<Member> members;
};
thread_local Group group;

void ask(int channel, std::vector<Member> members) {
  std::atomic<std::uint64_t>& asked = group.comm->asked[channel];
  put_on_stream(std::make_shared<Operation>(Operation{group.comm, channel, asked + 1, std::move(members)}), group.stream);
  ++asked;  // now the helper may run it
}

ncclResult_t submit() {
  const Comm comm = group.comm;
  if (!comm) return ncclSuccess;
  std::vector<Member> together;
  for (const Member& m : group.members)
    if (m.call.kind != Kind::send_receive) together.push_back(m);
  if (!together.empty()) ask(collective, together);
  // Queues sends before receives, because sends do not block the stream.
  for (const bool sends : {true, false})
    for (const Member& m : group.members)
      if (m.call.kind == Kind::send_receive && (m.call.root == comm->rank) == sends) ask(1 + m.call.root * most_ranks + m.receiver, {m});
  group.members.clear();
  group.comm = nullptr;
  comm->in_progress = !comm->blocking;
  return comm->blocking ? ncclSuccess : ncclInProgress;
}

ncclResult_t call(ncclComm_t handle, cudaStream_t stream, const Member& m) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "the communicator was destroyed or aborted");
  if (comm->in_progress) return refuse(ncclInvalidUsage, "a call while another is in progress: ask ncclCommGetAsyncError first");
  if (std::max(m.call.root, m.receiver) >= comm->size || std::min(m.call.root, m.receiver) < 0)
    return refuse(ncclInvalidArgument, "the root or peer is not a rank of the communicator, whose size is " + std::to_string(comm->size));
  if (group.comm && (group.comm != comm || group.stream != stream))
    return refuse(ncclInvalidUsage, "host_cuda allows only one communicator and one stream in a group");
  Operation all{comm, collective, 0, group.members};
  all.members.push_back(m);
  std::size_t bytes = 0;
  for (const Member& member : all.members) bytes += all.given(member.call, comm->rank);
  if (bytes > slot_bytes || all.members.size() > most_calls) return refuse(ncclInvalidUsage, "the group has more bytes or calls than host_cuda allows: divide it");
  group.comm = comm;
  group.stream = stream;
  group.members = std::move(all.members);
  return group.depth > 0 ? ncclSuccess : submit();
}

// ---- the thread that runs streams when another rank waits ---------------------------------------------------------------------------------

void help(host_nccl_comm& comm) {
  while (!comm.stopping) {
    for (int c = 0; c < channels; ++c) {
      std::uint64_t wanted = 0;
      for (int r = 0; r < comm.size; ++r)
        if (r != comm.rank) wanted = std::max<std::uint64_t>(wanted, comm.counters(c, r).wanted);
      const auto behind = [&] { return comm.counters(c, comm.rank).done < std::min<std::uint64_t>(wanted, comm.asked[c]); };
      if (!behind()) continue;
      const auto over = [&] { return !behind() || comm.stopping || comm.aborted || comm.failed(); };
      host_cuda::run_until(comm.device, over);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

void stop(const Comm& comm) {
  comm->stopping = true;
  if (comm->helper.joinable()) comm->helper.join();
  const std::lock_guard lock(registry_mutex);
  std::erase(registry, comm);
}

int rank_of(ncclComm_t handle) {
  const Comm comm = find(handle);
  return comm ? comm->rank : 0;
}

bool all_joined(const host_nccl_comm& comm) { return comm.shared->joined == (1u << comm.size) - 1; }

}  // namespace

// ---- interface of programs ----------------------------------------------------------------------------------------------------------------

ncclResult_t ncclGetVersion(int* version) { return *version = 22809, ncclSuccess; }

// The memory has no name in any folder, so no file is left behind. Other processes open it through the descriptors of this process.
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const int file = memfd_create("host_nccl", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(shared_bytes)) != 0)
    return refuse(ncclSystemError, "cannot create the shared memory of the ranks: check ulimit -n and -f");
  *id = {};
  std::snprintf(id->internal, sizeof id->internal, "/proc/%d/fd/%d", static_cast<int>(getpid()), file);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (ranks < 1 || ranks > most_ranks || rank < 0 || rank >= ranks)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  const int file = open(id.internal, O_RDWR | O_CLOEXEC);
  if (file < 0) return refuse(ncclSystemError, std::string("cannot open the shared memory that the unique id names: ") + id.internal);
  void* p = mmap(nullptr, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  close(file);
  if (p == MAP_FAILED) return refuse(ncclSystemError, "cannot map the shared memory of the ranks: raise ulimit -v");
  const Comm comm = std::make_shared<host_nccl_comm>();
  comm->rank = rank, comm->size = ranks, comm->blocking = config->blocking != 0, comm->shared = static_cast<Shared*>(p);
  cudaGetDevice(&comm->device);
  int expected = 0;
  if (!comm->shared->size.compare_exchange_strong(expected, ranks) && expected != ranks)
    return refuse(ncclInvalidArgument, "this rank expects " + std::to_string(ranks) + " ranks, other ranks expect " + std::to_string(expected));
  if (comm->shared->joined.fetch_or(1u << rank) >> rank & 1u)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " has joined already: give each rank a number of its own");
  comm->helper = std::thread([c = comm.get()] { help(*c); });
  {
    const std::lock_guard lock(registry_mutex);
    registry.push_back(comm);
  }
  *out = comm.get();
  comm->in_progress = true;
  if (!comm->blocking) return ncclInProgress;
  while (!all_joined(*comm)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  comm->in_progress = false;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* status) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "the communicator was destroyed or aborted");
  if (all_joined(*comm)) comm->in_progress = false;
  *status = comm->failed() ? ncclInternalError : comm->in_progress ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "the communicator was destroyed or aborted");
  for (int c = 0; c < channels; ++c)
    if (comm->counters(c, comm->rank).done < comm->asked[c])
      return refuse(ncclInvalidUsage, "host_cuda allows ncclCommFinalize only after all operations have ended: wait for the streams first");
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "the communicator was destroyed or aborted");
  stop(comm);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "the communicator was destroyed or aborted");
  comm->aborted = true;
  stop(comm);
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t status) { return status == ncclSuccess ? "no error" : "see ncclGetLastError"; }
const char* ncclGetLastError(ncclComm_t handle) {
  if (const Comm comm = handle ? find(handle) : nullptr; comm && comm->failed()) last_words = comm->report;
  return last_words.c_str();
}

ncclResult_t ncclGroupStart() { return ++group.depth, ncclSuccess; }
ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  return --group.depth > 0 ? ncclSuccess : submit();
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                           cudaStream_t stream) {
  return call(comm, stream, {{Kind::all_reduce, type, 0, count}, from, to});
}
ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t, int root, ncclComm_t comm,
                        cudaStream_t stream) {
  return call(comm, stream, {{Kind::reduce, type, root, count}, from, to});
}
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t each, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                               cudaStream_t stream) {
  return call(comm, stream, {{Kind::reduce_scatter, type, 0, each}, from, to});
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t each, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream, {{Kind::all_gather, type, 0, each}, from, to});
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return call(comm, stream, {{Kind::broadcast, type, root, count}, from, to});
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream, {{Kind::send_receive, type, rank_of(comm), count}, from, nullptr, peer});
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream, {{Kind::send_receive, type, peer, count}, nullptr, to, rank_of(comm)});
}
