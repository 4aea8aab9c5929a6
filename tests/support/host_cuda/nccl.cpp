// NCCL on the CPU. An operation is two pieces of work on its stream: the first lays what this rank gives into memory that all ranks share,
// the second, which cannot run before every rank has done the first, takes the result from there. Between the two the target holds NaN.
//
// A GPU works on while its host waits for something else. Streams here do not, so a thread of each communicator runs them when another rank
// waits for an operation that was asked for on this one.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "executor.h"
#include "memory.h"

namespace {

using host_cuda::Report;

constexpr int most_ranks = 8, most_calls = 2 * most_ranks, slots = 2;
constexpr int collective = 0, channels = 1 + most_ranks * most_ranks;  // the others: from one rank to another
constexpr std::size_t slot_bytes = std::size_t{64} << 20;              // of address space

enum class Kind { all_reduce, reduce, reduce_scatter, all_gather, broadcast, send_receive };
constexpr const char* names[] = {"AllReduce", "Reduce", "ReduceScatter", "AllGather", "Broadcast", "Send and Recv"};

// What all ranks must say alike.
struct Call {
  Kind kind;
  ncclDataType_t type;
  int root;  // of a Send and Recv: the sender
  std::uint64_t count;
  bool operator==(const Call&) const = default;
};
struct Post {
  std::uint64_t calls;
  Call call[most_calls];
};

// Operations of a channel are counted from 1. All counters only grow.
struct Counters {
  std::atomic<std::uint64_t> posted, done, wanted;  // `wanted`: this rank waits for that operation of the others
};
struct Shared {
  std::atomic<int> size;
  std::atomic<std::uint32_t> joined;  // a bit for each rank
  Counters counters[channels][most_ranks];
  Post posts[channels][most_ranks][slots];
};
constexpr std::size_t head_bytes = (sizeof(Shared) + 4095) / 4096 * 4096;
constexpr std::size_t shared_bytes = head_bytes + slot_bytes * slots * (most_ranks + most_ranks * most_ranks);

std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    default:
      return 8;
  }
}
const char* name_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return "u8";
    case ncclBfloat16:
      return "bf16";
    case ncclInt32:
      return "i32";
    case ncclFloat32:
      return "f32";
    case ncclFloat64:
      return "f64";
    default:
      return "i64";
  }
}

std::string text(const Post& p) {
  std::string out;
  for (std::uint64_t i = 0; i < p.calls; ++i) {
    const Call& c = p.call[i];
    out += (i ? ", " : "") + std::string(names[static_cast<int>(c.kind)]) + " of " + std::to_string(c.count) + " " + name_of(c.type);
    if (c.kind == Kind::reduce || c.kind == Kind::broadcast) out += " (root " + std::to_string(c.root) + ")";
  }
  return out;
}

double deadline() {
  const char* seconds = std::getenv("FLOWMAP_HOST_CUDA_NCCL_SECONDS");
  return seconds ? std::atof(seconds) : 60;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

struct host_nccl_comm {
  int rank = 0, size = 1, device = 0;
  bool blocking = true;
  Shared* shared = nullptr;
  std::atomic<bool> aborted = false, stopping = false, in_progress = false;
  std::atomic<std::uint64_t> asked[channels] = {};  // operations that this rank has put on its streams
  std::mutex mutex;
  std::string report;  // of the first thing that went wrong
  std::thread helper;

  ~host_nccl_comm() { munmap(shared, shared_bytes); }
  std::byte* data(int channel, int of_rank, std::uint64_t operation) const {
    const auto row = channel == collective ? of_rank : most_ranks + channel - 1;
    return reinterpret_cast<std::byte*>(shared) + head_bytes + slot_bytes * (static_cast<std::size_t>(row) * slots + operation % slots);
  }
  Counters& counters(int channel, int of_rank) const { return shared->counters[channel][of_rank]; }
  Post& post(int channel, int of_rank, std::uint64_t operation) const { return shared->posts[channel][of_rank][operation % slots]; }
  void note(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (report.empty()) report = what;
  }
  [[noreturn]] void fail(const std::string& what) {
    note("NCCL on rank " + std::to_string(rank) + ": " + what);
    throw Report(report);
  }
  bool failed() {
    const std::lock_guard lock(mutex);
    return !report.empty();
  }
};

namespace {

using Comm = std::shared_ptr<host_nccl_comm>;

std::mutex registry_mutex;
auto& registry = *new std::vector<Comm>;  // what ncclComm_t may point to; never destroyed: a program may end without ncclCommDestroy
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

struct Member {
  Call call;
  const void* from;
  void* to;
  int receiver = 0;  // of a Send and Recv
};

// One operation of a channel: what was called between ncclGroupStart and ncclGroupEnd, or alone.
struct Operation {
  Comm comm;
  int channel;
  std::uint64_t number;
  std::vector<Member> members;
  double waits_since = 0;

  std::vector<int> ranks() const {  // that take part
    if (channel != collective) return {(channel - 1) / most_ranks, (channel - 1) % most_ranks};
    std::vector<int> all;
    for (int r = 0; r < comm->size; ++r) all.push_back(r);
    return all;
  }
  // Of this member: bytes that `rank` gives, bytes that it gets.
  std::size_t given(const Call& c, int rank) const {
    const std::size_t bytes = c.count * size_of(c.type), all = bytes * static_cast<std::size_t>(comm->size);
    if (c.kind == Kind::reduce_scatter) return all;
    return c.kind == Kind::broadcast || c.kind == Kind::send_receive ? (rank == c.root ? bytes : 0) : bytes;
  }
  std::size_t got(const Call& c, int rank) const {
    const std::size_t bytes = c.count * size_of(c.type), all = bytes * static_cast<std::size_t>(comm->size);
    if (c.kind == Kind::all_gather) return all;
    return c.kind == Kind::reduce ? (rank == c.root ? bytes : 0) : c.kind == Kind::send_receive ? (rank == c.root ? 0 : bytes) : bytes;
  }
  void check_buffers() const {
    const auto inside = [&](const void* p, std::size_t bytes) { return bytes == 0 || host_cuda::inside_block(comm->device, p, bytes); };
    for (const Member& m : members)
      if (!inside(m.from, given(m.call, comm->rank)) || !inside(m.to, got(m.call, comm->rank)))
        comm->fail(std::string(names[static_cast<int>(m.call.kind)]) + " of " + std::to_string(m.call.count) + " " + name_of(m.call.type) +
                   ": a buffer is not memory of cuda:" + std::to_string(comm->device) + ", leaves its allocation, or was freed");
  }

  // Is every rank `far` enough? Tells the others what this one waits for.
  template <class Far>
  bool wait(std::uint64_t wanted, const Far& far) {
    if (comm->aborted) return true;
    for (int r : ranks()) {
      if (far(r)) continue;
      comm->counters(channel, comm->rank).wanted = wanted;
      if (waits_since == 0) waits_since = now();
      if (now() - waits_since > deadline())
        comm->fail("operation " + std::to_string(number) + " waits for rank " + std::to_string(r) + " since " +
                   std::to_string(static_cast<int>(deadline())) + " s");
      return false;
    }
    waits_since = 0;
    return true;
  }
  bool slot_is_free() {
    return number <= slots || wait(number - slots, [&](int r) { return comm->counters(channel, r).done >= number - slots; });
  }
  bool all_posted() {
    return wait(number, [&](int r) { return comm->counters(channel, r).posted >= number; });
  }
  void give();
  void take();
  void check_posts() const;
};

template <class F>
auto by_type(ncclDataType_t type, const F& f) {
  switch (type) {
    case ncclFloat32:
      return f(float{});
    case ncclFloat64:
      return f(double{});
    case ncclInt64:
      return f(std::int64_t{});
    default:
      return f(std::uint8_t{});
  }
}

float widened(std::uint16_t bits) {
  const std::uint32_t u = static_cast<std::uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
std::uint16_t rounded(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, 4);
  return static_cast<std::uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void add(ncclDataType_t type, const std::byte* x, std::byte* sum, std::uint64_t n) {
  if (type == ncclBfloat16) {
    const auto* a = reinterpret_cast<const std::uint16_t*>(x);
    auto* b = reinterpret_cast<std::uint16_t*>(sum);
    for (std::uint64_t i = 0; i < n; ++i) b[i] = rounded(widened(a[i]) + widened(b[i]));
    return;
  }
  by_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto* a = reinterpret_cast<const T*>(x);
    auto* b = reinterpret_cast<T*>(sum);
    for (std::uint64_t i = 0; i < n; ++i) b[i] = static_cast<T>(b[i] + a[i]);
  });
}

void Operation::give() {
  if (comm->aborted) return;
  int current = 0;
  cudaGetDevice(&current);
  if (current != comm->device)
    comm->fail("a stream of cuda:" + std::to_string(current) + " with a communicator of cuda:" + std::to_string(comm->device));
  check_buffers();
  std::byte* at = comm->data(channel, comm->rank, number);
  Post& post = comm->post(channel, comm->rank, number);
  post.calls = members.size();
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& m = members[i];
    post.call[i] = m.call;
    const std::size_t bytes = given(m.call, comm->rank);
    if (bytes > 0) std::memcpy(at, host_cuda::open_address(const_cast<void*>(m.from)), bytes);
    at += bytes;
  }
  for (const Member& m : members)
    if (const std::size_t bytes = got(m.call, comm->rank)) std::memset(host_cuda::open_address(m.to), 0xff, bytes);
  comm->counters(channel, comm->rank).posted = number;
}

void Operation::check_posts() const {
  const Post& own = comm->post(channel, comm->rank, number);
  for (int r : ranks()) {
    const Post& theirs = comm->post(channel, r, number);
    if (theirs.calls == own.calls && std::equal(own.call, own.call + own.calls, theirs.call)) continue;
    const int first = std::min(r, comm->rank), second = std::max(r, comm->rank);
    comm->fail("operation " + std::to_string(number) + ": rank " + std::to_string(first) + " calls " +
               text(comm->post(channel, first, number)) + ", rank " + std::to_string(second) + " " +
               text(comm->post(channel, second, number)));
  }
}

void Operation::take() {
  if (comm->aborted) return;
  check_buffers();
  check_posts();
  std::vector<std::size_t> at(static_cast<std::size_t>(most_ranks), 0);  // in each rank's data
  for (const Member& m : members) {
    const Call& c = m.call;
    const std::size_t bytes = c.count * size_of(c.type);
    auto* to = static_cast<std::byte*>(host_cuda::open_address(m.to));
    const bool sums = c.kind == Kind::all_reduce || c.kind == Kind::reduce || c.kind == Kind::reduce_scatter;
    // Not the order of the ranks: that of sums is NCCL's own, and nobody may count on it.
    bool begun = false;
    for (int r = comm->size - 1; r >= 0; --r) {
      if (channel != collective && r != c.root) continue;
      const std::byte* from = comm->data(channel, r, number) + at[static_cast<std::size_t>(r)];
      at[static_cast<std::size_t>(r)] += given(c, r);
      if (got(c, comm->rank) == 0 || given(c, r) == 0) continue;
      if (c.kind == Kind::reduce_scatter) from += bytes * static_cast<std::size_t>(comm->rank);
      if (sums && begun)
        add(c.type, from, to, c.count);
      else
        std::memcpy(c.kind == Kind::all_gather ? to + bytes * static_cast<std::size_t>(r) : to, from, bytes);
      begun = true;
    }
  }
  comm->counters(channel, comm->rank).done = number;
}

void put_on_stream(const std::shared_ptr<Operation>& op, cudaStream_t stream) {
  const auto lost = [comm = op->comm](const std::string& report) { comm->note(report); };
  host_cuda::enqueue_when(
      stream, [op] { return op->slot_is_free(); }, [op] { op->give(); }, lost);
  // Only what waits for data can hold a stream up; a send is done when it has given.
  if (op->channel == collective || op->comm->rank != op->members.front().call.root)
    host_cuda::enqueue_when(
        stream, [op] { return op->all_posted(); }, [op] { op->take(); }, lost);
  else
    host_cuda::enqueue_when(
        stream, [] { return true; }, [op] { op->comm->counters(op->channel, op->comm->rank).done = op->number; }, lost);
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
  // Sends before receives: they hold nobody up.
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
  if (!comm) return refuse(ncclInvalidArgument, "a communicator that was destroyed or aborted");
  if (comm->in_progress) return refuse(ncclInvalidUsage, "a call while another is in progress: ask ncclCommGetAsyncError first");
  if (std::max(m.call.root, m.receiver) >= comm->size || std::min(m.call.root, m.receiver) < 0)
    return refuse(ncclInvalidArgument, "there is no such rank among " + std::to_string(comm->size));
  if (group.comm && (group.comm != comm || group.stream != stream))
    return refuse(ncclInvalidUsage, "the stand-in takes one communicator and one stream in a group");
  Operation all{comm, collective, 0, group.members};
  all.members.push_back(m);
  std::size_t bytes = 0;
  for (const Member& member : all.members) bytes += all.given(member.call, comm->rank);
  if (bytes > slot_bytes || all.members.size() > most_calls) return refuse(ncclInvalidUsage, "more at a time than the stand-in takes");
  group.comm = comm;
  group.stream = stream;
  group.members = std::move(all.members);
  return group.depth > 0 ? ncclSuccess : submit();
}

// ---- the thread that goes on when another rank waits
// -------------------------------------------------------------------------------------

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

// ---- what programs call
// --------------------------------------------------------------------------------------------------------------------

ncclResult_t ncclGetVersion(int* version) { return *version = 22809, ncclSuccess; }

// The memory has no name in any folder, so nothing is left behind; others open it through this process.
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const int file = memfd_create("host_nccl", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(shared_bytes)) != 0) return refuse(ncclSystemError, "no memory to share");
  *id = {};
  std::snprintf(id->internal, sizeof id->internal, "/proc/%d/fd/%d", static_cast<int>(getpid()), file);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (ranks < 1 || ranks > most_ranks || rank < 0 || rank >= ranks)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  const int file = open(id.internal, O_RDWR | O_CLOEXEC);
  if (file < 0) return refuse(ncclSystemError, std::string("no communicator at ") + id.internal);
  void* p = mmap(nullptr, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  close(file);
  if (p == MAP_FAILED) return refuse(ncclSystemError, "no address space");
  const Comm comm = std::make_shared<host_nccl_comm>();
  comm->rank = rank, comm->size = ranks, comm->blocking = config->blocking != 0, comm->shared = static_cast<Shared*>(p);
  cudaGetDevice(&comm->device);
  int expected = 0;
  if (!comm->shared->size.compare_exchange_strong(expected, ranks) && expected != ranks)
    return refuse(ncclInvalidArgument, "this rank expects " + std::to_string(ranks) + " ranks, others " + std::to_string(expected));
  if (comm->shared->joined.fetch_or(1u << rank) >> rank & 1u)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " is there already");
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
  if (!comm) return refuse(ncclInvalidArgument, "a communicator that was destroyed or aborted");
  if (all_joined(*comm)) comm->in_progress = false;
  *status = comm->failed() ? ncclInternalError : comm->in_progress ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "a communicator that was destroyed or aborted");
  for (int c = 0; c < channels; ++c)
    if (comm->counters(c, comm->rank).done < comm->asked[c])
      return refuse(ncclInvalidUsage, "the stand-in takes ncclCommFinalize when the streams are done");
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "a communicator that was destroyed or aborted");
  stop(comm);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const Comm comm = find(handle);
  if (!comm) return refuse(ncclInvalidArgument, "a communicator that was destroyed or aborted");
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
