// Prefetches the host's part of a step's batch to the GPU while the previous step computes. On the CPU a batch is made on request.
#pragma once

#include <functional>
#include <vector>

#include "tensor/error.h"
#include "tensor/upload.h"

namespace fm {

// A batch that lists its tensors: each_tensor(f) calls f once with each tensor, always in the same order. Undefined tensors stay undefined.
template <class B> concept NamedBatch = requires(B& batch, void (*f)(Tensor&)) { batch.each_tensor(f); };

template <NamedBatch B> class BatchAhead {
 public:
  // Makes rows first ... first + n - 1 in the order of training. `next`: the first row of the caller's next request, or -1.
  using Make = std::function<B(std::int64_t first, std::int64_t n, std::int64_t next)>;

  explicit BatchAhead(Make make, Device device = default_device()) : make_(std::move(make)), device_(device) {}

  // Returns make(first, n, next) on the device, and prefetches the next request as ReadAhead does (data/read_ahead.h): n rows from row `next` on,
  // or from row first + n on if `next` is negative.
  B take(std::int64_t first, std::int64_t n, std::int64_t next) {
    if (!device_.is_cuda()) return make_(first, n, next);
    UnderWay now = first == first_ && n == n_ ? std::move(ahead_) : begin(first, n, next);
    std::size_t i = 0;
    now.batch.each_tensor([&](Tensor& t) { t = now.tensors[i++].take(); });
    const std::int64_t ahead = next >= 0 ? next : first + n;
    first_ = -1;
    try {
      ahead_ = begin(ahead, n, 2 * ahead - first);          // the expected request: made while the step computes
      first_ = ahead, n_ = n;
    } catch (const FileError&) {                            // the error is thrown again when the batch is requested
      ahead_ = {};
    }
    return std::move(now.batch);
  }

 private:
  struct UnderWay {
    B batch;
    std::vector<Upload> tensors;
  };

  UnderWay begin(std::int64_t first, std::int64_t n, std::int64_t next) {
    UnderWay out{make_(first, n, next), {}};
    out.batch.each_tensor([&](Tensor& t) { out.tensors.emplace_back(t, device_); });
    return out;
  }

  Make make_;
  Device device_;
  std::int64_t first_ = -1, n_ = 0;
  UnderWay ahead_;
};

}  // namespace fm
