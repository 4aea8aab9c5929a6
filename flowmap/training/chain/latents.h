// Encodes samples block by block, and serves batches of raw latents for training from any source.
#pragma once

#include <functional>
#include <memory>

#include "data/latent_cache.h"
#include "data/loader.h"
#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/latent_space.h"

namespace fm {

// Rows of a data set as f32 images (n, C, H, W) in [0, 1], and as labels i64 (n).
Tensor image_rows(const Dataset& data, const std::vector<std::int64_t>& rows);
Tensor label_rows(const Dataset& data, const std::vector<std::int64_t>& rows);

struct LatentSet {
  RawLatents raw;       // (n, shape of a latent) f32
  RawLatents mirrored;  // latents of the mirrored images; may be undefined
  Tensor labels;        // i64 (n)
  Tensor noise = {};    // f32, in raw's shape: noise that comes with the samples; undefined: random noise

  template <class F> void each_tensor(F&& f) { f(raw.values), f(mirrored.values), f(labels), f(noise); }
};

// All samples of a source of f32 values as they are, in memory, with their noise where the source has some. FileError as from the source.
LatentSet samples_as_latents(const SampleSource& source);

// Encodes images first ... first + count - 1 in order, config.batch at a time, also mirrored if config.flip; `block(i, set)`
// receives the latents from number i on.
void encode_pictures(const LatentCoder& coder, const std::shared_ptr<const SampleSource>& pictures, const LatentsConfig& config, std::int64_t first,
                     std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block);

// Gaussian latents of class 0 in place of data, where only time and memory count.
Batch random_batch(const Recipe& recipe, std::int64_t rows, std::uint64_t seed);

// Batches of latents in the order of training (epoch_rows); which are mirrored is drawn by (seed, epoch, sample).
class LatentSource {
 public:
  virtual ~LatentSource() = default;
  virtual std::int64_t count() const = 0;
  // Rows first ... first + n - 1 of the order of `seed`: raw latents with random mirroring, and labels. One caller at a time. `next`: the
  // caller's next first row (-1: the rows after these).
  virtual LatentSet take(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next = -1) = 0;
  // Mean and variance of each element over all images (and mirrored ones, if training uses them).
  virtual LatentStats statistics() = 0;
};

std::unique_ptr<LatentSource> latents_in_memory(LatentSet set);  // flips when set.mirrored is there
std::unique_ptr<LatentSource> latents_in_files(std::shared_ptr<const LatentCache> cache, std::int64_t workers);  // likewise
// `progress(done)` is called while statistics() reads all images.
std::unique_ptr<LatentSource> latents_of_pictures(LatentCoder coder, std::shared_ptr<const SampleSource> pictures, const LatentsConfig& config,
                                                  std::function<void(std::int64_t)> progress);

}  // namespace fm
