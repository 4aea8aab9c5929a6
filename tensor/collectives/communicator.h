// Communication of processes that train together. The tensors of all ranks must have equal shapes and types, and all ranks must call
// the same operations in the same order; that order is also the order in which they run.
//
// All operations work in place on contiguous tensors. `..._start` returns while the data are in transit, and no rank may access its tensor before
// its Work is done. Sums on CPUs add the ranks' numbers in the order of the ranks (f32 in double), so all ranks and all runs get the same bits.
// For tensors on GPUs nccl.h describes the order of sums and what get() waits for.
//
//   auto under_way = ranks.all_reduce_start(gradients);
//   ... other work ...
//   under_way.get();                                   // RankLostError if another rank is gone
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/tensor.h"

namespace fm {

// Thrown if another rank has ended or is unreachable. The message contains the reason that the rank gave, if any.
struct RankLostError : Error {
  using Error::Error;
};

// Thrown if this rank or another was asked to stop (a signal, a time limit) and leaves for that reason.
struct RankStoppedError : RankLostError {
  using RankLostError::RankLostError;
};

enum class Ending { failed, stopped };

class Communicator {
 public:
  using Work = std::shared_future<void>;
  using Counts = std::vector<std::int64_t>;       // elements of each rank's piece; their sum is the tensor's size

  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool first() const { return rank() == 0; }

  // Replaces x, on each rank, by the sum over ranks. Types: f32, f64 and i64; on GPUs also bf16.
  virtual Work all_reduce_start(const Tensor& x) = 0;
  // Replaces piece r of x, on rank r, by its sum over ranks. The other pieces are undefined afterwards. Types as for all_reduce_start.
  virtual Work reduce_scatter_start(const Tensor& x, const Counts& counts) = 0;
  // Copies each rank's piece to all ranks. Any type.
  virtual Work all_gather_start(const Tensor& x, const Counts& counts) = 0;
  virtual Work broadcast_start(const Tensor& x, int root) = 0;
  // Sends x to one rank, which must call receive_start or receive.
  virtual Work send_start(const Tensor& x, int to) = 0;
  virtual Work receive_start(const Tensor& x, int from) = 0;

  void all_reduce(const Tensor& x) { all_reduce_start(x).get(); }
  void reduce_scatter(const Tensor& x, const Counts& counts) { reduce_scatter_start(x, counts).get(); }
  void all_gather(const Tensor& x, const Counts& counts) { all_gather_start(x, counts).get(); }
  void broadcast(const Tensor& x, int root) { broadcast_start(x, root).get(); }
  void send(const Tensor& x, int to) { send_start(x, to).get(); }
  void receive(const Tensor& x, int from) { receive_start(x, from).get(); }
  void barrier();

  // RankLostError if a rank is known to be lost; does not wait, callable from any thread.
  virtual void check_alive() const {}

  // Sets a function that is called after each operation, on the communicator's own thread. Times are seconds on the steady clock. An empty function
  // removes it.
  struct Span {
    const char* op;
    std::size_t bytes;
    double begin, end;
  };
  virtual void observe(std::function<void(const Span&)> observer) { (void)observer; }

  // Ends regularly, after waiting for all ranks. Without finish() the other ranks report this rank as lost.
  virtual void finish() {}
  // Ends early. The other ranks throw RankLostError with this text, or RankStoppedError if `ending` says that this rank follows a stop request.
  virtual void abandon(const std::string& why, Ending ending) { (void)why, (void)ending; }
  void abandon(const std::string& why) { abandon(why, Ending::failed); }
};

// The communicator of a single rank. Its collectives leave the tensor as it is.
class SingleRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Work all_reduce_start(const Tensor& x) override;
  Work reduce_scatter_start(const Tensor& x, const Counts& counts) override;
  Work all_gather_start(const Tensor& x, const Counts& counts) override;
  Work broadcast_start(const Tensor& x, int root) override;
  Work send_start(const Tensor& x, int to) override;
  Work receive_start(const Tensor& x, int from) override;
};

// Divides `n` elements among the ranks. Counts differ by at most one.
Communicator::Counts even_counts(std::int64_t n, int ranks);

// Returns the texts of all ranks, in their order, on each rank. Error if a text has more than 4 MiB.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& own);
std::vector<double> sum_over_ranks(Communicator& ranks, const std::vector<double>& own);

}  // namespace fm
