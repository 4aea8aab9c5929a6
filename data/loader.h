// Batches of a data set in a keyed random order, prepared one step ahead by a thread of their own.
// A batch is a pure function of (data, seed, step): a resumed run, and a run on more ranks, sees the same samples.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "data/source.h"
#include "tensor/random/philox.h"

namespace fm {

struct ImageBatch {
  std::int64_t step = 0, epoch = 0;
  std::int64_t size = 0;               // samples of this rank
  int channels = 0, height = 0, width = 0;
  std::vector<std::int64_t> positions;  // global sample numbers, step * batch + i: the index to key any per-sample randomness with
  std::vector<std::int64_t> indices;    // into the data set
  std::vector<std::int32_t> labels;
  std::vector<float> pixels;            // (size, channels, height, width) in [0,1]
};

// One sample on its way into a batch; `random.block(position, draw)` gives its random words.
struct ImageSample {
  float* pixels;  // (channels, height, width) in [0,1], to be changed in place
  int channels, height, width;
  std::int64_t position, index, epoch;
  std::int32_t label;
  RandomKey random;
};

struct LoaderOptions {
  std::int64_t batch = 128;  // over all ranks; a multiple of `world`
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool flip = false;  // mirror left and right with probability 1/2
  int rank = 0, world = 1;
  std::function<void(const ImageSample&)> augment;  // after the flip; must depend on the sample only
};

class Loader {
 public:
  // ConfigError when the batch does not divide by the ranks or is larger than the data set: an epoch has count / batch whole steps, the rest
  // of that epoch's order is left out (another part each time).
  Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options);
  Loader(std::shared_ptr<const Dataset> data, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  std::int64_t steps_per_epoch() const;
  const LoaderOptions& options() const;

  // This rank's part of the batch of a step, computed here and now.
  ImageBatch batch(std::int64_t step) const;

  // The batch of the next step, prepared in the background; an error met there is thrown here. One caller at a time.
  ImageBatch next();
  // next() goes on with this step.
  void seek(std::int64_t step);

 private:
  struct Prefetch;
  std::shared_ptr<const SampleSource> source_;
  LoaderOptions options_;
  std::unique_ptr<Prefetch> prefetch_;
};

// A data set as a source.
std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data);

}  // namespace fm
