// Adds up the gradients of all ranks during the backward pass: each gradient is copied into its bucket as soon as it is final, and a full
// bucket is sent while the gradients of earlier layers are still being computed.
//
//   GradientBuckets buckets(ranks, named_parameters(model));
//   buckets.begin(nullptr);
//   Gradients g = backward(loss, buckets.hook());      // loss: this rank's share, so that the sum over ranks is the whole
//   buckets.finish(g);                                 // g: the sums, the same bits on all ranks
//
// Buckets are sent in one order on all ranks: at first the parameters' own, backwards; after the first step the order in which rank 0's gradients
// were final. On CPUs sums are element by element in the order of the ranks, so how parameters lie in buckets changes no bit.
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
  // With owners (one for each parameter) a rank gets the sums of its own parameters only; the others' gradients are undefined afterwards.
  GradientBuckets(Communicator& ranks, const std::vector<NamedParameter>& parameters, std::vector<int> owners = {},
                  std::int64_t bucket_bytes = 1 << 20);
  ~GradientBuckets();

  // `earlier`: gradients of micro-batches before the last, which are added to the last one's; may be null, and is used up.
  void begin(Gradients* earlier);
  OnFinal hook();
  // Sends gradients without a hook call, waits, and puts the sums into `gradients`. RankLostError.
  void finish(Gradients& gradients);

  std::size_t count() const { return buckets_.size(); }

 private:
  struct Entry {
    const Parameter* parameter;
    int owner;
    std::size_t index;                              // among all parameters
    std::int64_t at = 0;                            // where values begin
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
  Tensor flags_;                                    // of each parameter: how many ranks have a gradient
  std::unordered_map<const Parameter*, std::pair<std::size_t, std::size_t>> place_;   // bucket and entry
  std::size_t sent_ = 0;
  std::vector<std::size_t> seen_;                   // the order in which gradients became final, in the first step
  bool ordered_ = false, sharded_ = false;
  Gradients* earlier_ = nullptr;
};

}  // namespace fm
