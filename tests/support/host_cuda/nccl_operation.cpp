#include "nccl_operation.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "executor.h"
#include "memory.h"

namespace host_nccl {
namespace {

constexpr const char* names[] = {"AllReduce", "Reduce", "ReduceScatter", "AllGather", "Broadcast", "Send and Recv"};

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

}  // namespace

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

std::vector<int> Operation::ranks() const {
  if (channel != collective) return {(channel - 1) / most_ranks, (channel - 1) % most_ranks};
  std::vector<int> all;
  for (int r = 0; r < comm->size; ++r) all.push_back(r);
  return all;
}
std::size_t Operation::given(const Call& c, int rank) const {
  const std::size_t bytes = c.count * size_of(c.type), all = bytes * static_cast<std::size_t>(comm->size);
  if (c.kind == Kind::reduce_scatter) return all;
  return c.kind == Kind::broadcast || c.kind == Kind::send_receive ? (rank == c.root ? bytes : 0) : bytes;
}
std::size_t Operation::got(const Call& c, int rank) const {
  const std::size_t bytes = c.count * size_of(c.type), all = bytes * static_cast<std::size_t>(comm->size);
  if (c.kind == Kind::all_gather) return all;
  return c.kind == Kind::reduce ? (rank == c.root ? bytes : 0) : c.kind == Kind::send_receive ? (rank == c.root ? 0 : bytes) : bytes;
}
void Operation::check_buffers() const {
  const auto inside = [&](const void* p, std::size_t bytes) { return bytes == 0 || host_cuda::inside_block(comm->device, p, bytes); };
  for (const Member& m : members)
    if (!inside(m.from, given(m.call, comm->rank)) || !inside(m.to, got(m.call, comm->rank)))
      comm->fail(std::string(names[static_cast<int>(m.call.kind)]) + " of " + std::to_string(m.call.count) + " " + name_of(m.call.type) +
                 ": a buffer is not memory of cuda:" + std::to_string(comm->device) + ", leaves its allocation, or was freed");
}

// Returns whether far(r), "rank r has progressed far enough", holds for every rank r that takes part. If not, publishes that this rank waits for
// operation `wanted`.
template <class Far>
bool Operation::wait(std::uint64_t wanted, const Far& far) {
  if (comm->aborted) return true;
  for (int r : ranks()) {
    if (far(r)) continue;
    comm->counters(channel, comm->rank).wanted = wanted;
    if (waits_since == 0) waits_since = now();
    if (now() - waits_since > deadline())
      comm->fail("operation " + std::to_string(number) + " waited for rank " + std::to_string(r) + " longer than " +
                 std::to_string(static_cast<int>(deadline())) + " s");
    return false;
  }
  waits_since = 0;
  return true;
}
bool Operation::slot_is_free() {
  return number <= slots || wait(number - slots, [&](int r) { return comm->counters(channel, r).done >= number - slots; });
}
bool Operation::all_posted() {
  return wait(number, [&](int r) { return comm->counters(channel, r).posted >= number; });
}

void Operation::give() {
  if (comm->aborted) return;
  int current = 0;
  cudaGetDevice(&current);
  if (current != comm->device)
    comm->fail("the operation's stream is on cuda:" + std::to_string(current) + ", its communicator on cuda:" + std::to_string(comm->device));
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
  std::vector<std::size_t> at(static_cast<std::size_t>(most_ranks), 0);  // the position in each rank's data
  for (const Member& m : members) {
    const Call& c = m.call;
    const std::size_t bytes = c.count * size_of(c.type);
    auto* to = static_cast<std::byte*>(host_cuda::open_address(m.to));
    const bool sums = c.kind == Kind::all_reduce || c.kind == Kind::reduce || c.kind == Kind::reduce_scatter;
    // Adds in the reverse order of the ranks: NCCL chooses the order of sums, and no program may depend on it.
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
  // Only receivers of data can block a stream; a send is done when its data are copied.
  if (op->channel == collective || op->comm->rank != op->members.front().call.root)
    host_cuda::enqueue_when(
        stream, [op] { return op->all_posted(); }, [op] { op->take(); }, lost);
  else
    host_cuda::enqueue_when(
        stream, [] { return true; }, [op] { op->comm->counters(op->channel, op->comm->rank).done = op->number; }, lost);
}

}  // namespace host_nccl

using namespace host_nccl;

host_nccl_comm::~host_nccl_comm() { munmap(shared, shared_bytes); }
std::byte* host_nccl_comm::data(int channel, int of_rank, std::uint64_t operation) const {
  const auto row = channel == collective ? of_rank : most_ranks + channel - 1;
  return reinterpret_cast<std::byte*>(shared) + head_bytes + slot_bytes * (static_cast<std::size_t>(row) * slots + operation % slots);
}
void host_nccl_comm::note(const std::string& what) {
  const std::lock_guard lock(mutex);
  if (report.empty()) report = what;
}
void host_nccl_comm::fail(const std::string& what) {
  note("NCCL on rank " + std::to_string(rank) + ": " + what);
  throw host_cuda::Report(report);
}
bool host_nccl_comm::failed() {
  const std::lock_guard lock(mutex);
  return !report.empty();
}
