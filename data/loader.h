// Batches of a source in the order of training, decoded by threads of their own while the caller works on the batch before.
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

struct ImageBatch {
  std::vector<EpochRow> rows;  // where each sample stands
  Tensor pixels;               // (n, channels, height, width) f32 in [0, 1]
  Tensor labels;               // i64 (n)
};

struct LoaderOptions {
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool flip = false;  // mirror left and right with probability 1/2, drawn by (seed, epoch, sample)
  int workers = 1;    // threads that decode; 0: the caller's, and nothing is prepared ahead
};

class Loader {
 public:
  Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const SampleSource& source() const { return *source_; }

  // Rows first ... first + n - 1 of the order (see epoch_rows), computed here and now. FileError: the first picture, in the batch's order,
  // that cannot be read.
  ImageBatch batch(std::int64_t first, std::int64_t n) const;

  // The same, prepared in the background: the rows behind, or those from `next` on.
  ImageBatch take(std::int64_t first, std::int64_t n, std::int64_t next = -1) {
    return options_.workers == 0 ? batch(first, n) : ahead_.take(first, n, next);
  }

 private:
  void read(const EpochRow& row, float* pixels) const;

  std::shared_ptr<const SampleSource> source_;
  LoaderOptions options_;
  ReadAhead<ImageBatch> ahead_;
};

}  // namespace fm
