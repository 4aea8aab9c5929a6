// Batches of a source in the order of training; separate threads decode the next batch while the caller uses the current one.
// A batch is a pure function of (source, seed, rows): a resumed run, and a run that is split over processes, sees the same samples.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/permutation.h"
#include "data/read_ahead.h"
#include "data/source.h"
#include "tensor/tensor.h"

namespace fm {

struct SampleBatch {
  std::vector<EpochRow> rows;  // the position of each sample
  Tensor x;                    // (n, shape of a sample) f32: image levels in [0, 1], other values unchanged
  Tensor labels;               // i64 (n)

  template <class F> void each_tensor(F&& f) { f(x), f(labels); }
};

struct LoaderOptions {
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool flip = false;  // images only: mirror left and right with probability 1/2, keyed by (seed, epoch, sample)
  int workers = 1;    // threads that decode; 0: the caller's thread, without prefetch
};

class Loader {
 public:
  // ConfigError: no samples, samples of another type than u8 and f32, a flip of samples that are not images.
  Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const SampleSource& source() const { return *source_; }

  // Reads rows first ... first + n - 1 of the order (epoch_rows) now, on `workers` threads. FileError names the first sample, in the batch's order,
  // that cannot be read.
  SampleBatch batch(std::int64_t first, std::int64_t n) const;

  // Returns the same batch, then prefetches n rows in the background: the following rows, or the rows from `next` on if it is not negative.
  SampleBatch take(std::int64_t first, std::int64_t n, std::int64_t next = -1) {
    return options_.workers == 0 ? batch(first, n) : ahead_.take(first, n, next);
  }

 private:
  void read(const EpochRow& row, float* x) const;

  std::shared_ptr<const SampleSource> source_;
  LoaderOptions options_;
  ReadAhead<SampleBatch> ahead_;
};

}  // namespace fm
