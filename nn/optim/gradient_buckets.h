// Sums the gradients over all ranks during the backward pass: each gradient is copied into its bucket as soon as it is final, and a full
// bucket is sent while the gradients of earlier layers are still being computed.
//
//   GradientBuckets buckets(ranks, named_parameters(model));
//   buckets.begin(nullptr);
//   Gradients g = backward(loss, buckets.hook());      // loss: this rank's share of the loss of the batch
//   buckets.finish(g);                                 // g: the sums, the same bits on all ranks
//
// All ranks send buckets in the same order. In the first step this is the reverse order of the parameters, later the order in which the gradients of
// rank 0 became final in the first step. CPUs sum each element in the order of the ranks, so the layout of the buckets does not change any bit.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "autodiff/tape.h"
#include "nn/optim/adamw.h"
#include "tensor/collectives/communicator.h"

namespace fm {

class GradientBuckets {
 public:
  // With `owners` (one rank for each parameter) a rank gets the sums only for its own parameters; the other gradients are undefined afterwards.
  GradientBuckets(Communicator& ranks, const std::vector<NamedParameter>& parameters, std::vector<int> owners = {},
                  std::int64_t bucket_bytes = 1 << 20);
  ~GradientBuckets();

  // Begins a step. `earlier` holds the summed gradients of all micro-batches before the last; may be null. These sums are moved out of `earlier` and
  // added to the gradients of the last micro-batch.
  void begin(Gradients* earlier);
  OnFinal hook();
  // Sends the gradients for which the hook was not called, waits for all sums, and puts them into `gradients`. RankLostError if a rank is lost.
  void finish(Gradients& gradients);

  std::size_t count() const { return buckets_.size(); }

 private:
  struct Entry {
    const Parameter* parameter;
    int owner;
    std::size_t index;                              // position in parameters_
    std::int64_t at = 0;                            // position of its first element in the buffer
    bool there = false;
  };
  struct Bucket {
    std::vector<Entry> entries;
    Tensor buffer;
    Communicator::Counts counts;
    std::size_t missing = 0;
    Communicator::Work under_way;
  };
  void lay_out(const std::vector<std::size_t>& order);
  void close(Bucket&& bucket);
  void take(const Parameter& p, Tensor& g);
  void put(Bucket& bucket, Entry& entry, const Tensor& g);
  void send_full_ones();
  void adopt_order_of_rank_0();

  Communicator& ranks_;
  std::vector<const Parameter*> parameters_;        // trainable ones
  std::vector<int> owners_;
  std::int64_t bucket_bytes_;
  std::vector<Bucket> buckets_;
  Tensor flags_;                                    // by parameter: the number of ranks that have a gradient
  std::unordered_map<const Parameter*, std::pair<std::size_t, std::size_t>> place_;   // bucket and entry
  std::size_t sent_ = 0;
  std::vector<std::size_t> seen_;                   // the order in which gradients became final, in the first step
  bool ordered_ = false, sharded_ = false;
  Gradients* earlier_ = nullptr;
};

}  // namespace fm
