// The shared memory of NCCL's stand-in, a rank's communicator, and operations. nccl.cpp describes how operations run.
#pragma once

#include <nccl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace host_nccl {

constexpr int most_ranks = 8, most_calls = 2 * most_ranks, slots = 2;
constexpr int collective = 0, channels = 1 + most_ranks * most_ranks;  // the channels above 0 are from one rank to another
constexpr std::size_t slot_bytes = std::size_t{64} << 20;              // address space of a slot

enum class Kind { all_reduce, reduce, reduce_scatter, all_gather, broadcast, send_receive };

// The values that must agree on all ranks.
struct Call {
  Kind kind;
  ncclDataType_t type;
  int root;  // for a Send and Recv: the sender
  std::uint64_t count;
  bool operator==(const Call&) const = default;
};
struct Post {
  std::uint64_t calls;
  Call call[most_calls];
};

// Operations of a channel are counted from 1. All counters only grow.
struct Counters {
  std::atomic<std::uint64_t> posted, done, wanted;  // `wanted`: the operation of other ranks that this rank waits for
};
struct Shared {
  std::atomic<int> size;
  std::atomic<std::uint32_t> joined;  // a bit for each rank
  Counters counters[channels][most_ranks];
  Post posts[channels][most_ranks][slots];
};
constexpr std::size_t head_bytes = (sizeof(Shared) + 4095) / 4096 * 4096;
constexpr std::size_t shared_bytes = head_bytes + slot_bytes * slots * (most_ranks + most_ranks * most_ranks);

std::size_t size_of(ncclDataType_t type);

}  // namespace host_nccl

struct host_nccl_comm {
  int rank = 0, size = 1, device = 0;
  bool blocking = true;
  host_nccl::Shared* shared = nullptr;
  std::atomic<bool> aborted = false, stopping = false, in_progress = false;
  std::atomic<std::uint64_t> asked[host_nccl::channels] = {};  // number of operations that this rank has put on its streams
  std::mutex mutex;
  std::string report;  // the report of the first error
  std::thread helper;

  ~host_nccl_comm();
  std::byte* data(int channel, int of_rank, std::uint64_t operation) const;
  host_nccl::Counters& counters(int channel, int of_rank) const { return shared->counters[channel][of_rank]; }
  host_nccl::Post& post(int channel, int of_rank, std::uint64_t operation) const {
    return shared->posts[channel][of_rank][operation % host_nccl::slots];
  }
  void note(const std::string& what);
  [[noreturn]] void fail(const std::string& what);
  bool failed();
};

namespace host_nccl {

using Comm = std::shared_ptr<host_nccl_comm>;

struct Member {
  Call call;
  const void* from;
  void* to;
  int receiver = 0;  // for a Send and Recv
};

// One operation of a channel: the calls between ncclGroupStart and ncclGroupEnd, or a single call.
struct Operation {
  Comm comm;
  int channel;
  std::uint64_t number;
  std::vector<Member> members;
  double waits_since = 0;

  std::vector<int> ranks() const;                         // the ranks that take part
  std::size_t given(const Call& c, int rank) const;       // bytes that `rank` contributes to call c
  std::size_t got(const Call& c, int rank) const;         // bytes that `rank` receives in call c
  bool slot_is_free();
  bool all_posted();
  void give();
  void take();

 private:
  template <class Far> bool wait(std::uint64_t wanted, const Far& far);
  void check_buffers() const;
  void check_posts() const;
};

void put_on_stream(const std::shared_ptr<Operation>& op, cudaStream_t stream);

}  // namespace host_nccl
