// Encodes samples block by block, and serves batches of raw latents for training from any source.
#pragma once

#include <functional>
#include <memory>

#include "data/latent_cache.h"
#include "data/loader.h"
#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/latent_space.h"

namespace fm {

// The images of these rows of a data set, f32 (n, C, H, W) in [0, 1], and their labels, i64 (n).
Tensor image_rows(const Dataset& data, const std::vector<std::int64_t>& rows);
Tensor label_rows(const Dataset& data, const std::vector<std::int64_t>& rows);

struct LatentSet {
  RawLatents raw;       // (n, stored shape of a latent) f32
  RawLatents mirrored;  // latents of the mirrored images; may be undefined
  Tensor labels;        // i64 (n)
  Tensor noise = {};    // f32, in raw's shape: noise that comes with the samples; undefined: random noise
  Tensor beside = {};   // f32 (n, numbers): class tokens (flowmap/training/class_tokens.h); may be undefined

  template <class F> void each_tensor(F&& f) { f(raw.values), f(mirrored.values), f(labels), f(noise), f(beside); }
};

// Reads all samples of a source of f32 values into memory, with their noise if the source has noise. The samples are their own latents. FileError as from
// the source.
LatentSet samples_as_latents(const SampleSource& source);

// Encodes images first ... first + count - 1 in order, config.batch at a time, with config.flip also their mirror images. Calls block(i, set) with the
// latents of each of these batches; i is the number of its first image.
void encode_pictures(const LatentCoder& coder, const std::shared_ptr<const SampleSource>& pictures, const LatentsConfig& config, std::int64_t first,
                     std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block);

// Returns Gaussian latents with label 0, which replace data in measurements of time and memory.
Batch random_batch(const Recipe& recipe, std::int64_t rows, std::uint64_t seed);

// Provides batches of latents in the order of training (epoch_rows). Whether a sample is mirrored is random, a function of (seed, epoch, sample).
class LatentSource {
 public:
  virtual ~LatentSource() = default;
  virtual std::int64_t count() const = 0;
  // Returns rows first ... first + n - 1 of the order that `seed` gives: raw latents, mirrored at random, and labels. One thread at a time may call it.
  // `next`: the first row of the caller's next request, for prefetching (-1: first + n).
  virtual LatentSet take(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next = -1) = 0;
  // Mean and variance of each element over all images (and mirrored ones, if training uses them).
  virtual LatentStats statistics() = 0;
};

std::unique_ptr<LatentSource> latents_in_memory(LatentSet set);  // mirrors at random if set.mirrored is defined
// Mirrors at random if the cache has mirrored latents.
std::unique_ptr<LatentSource> latents_in_files(std::shared_ptr<const LatentCache> cache, std::int64_t workers);
// `progress(done)` is called while statistics() reads all images.
std::unique_ptr<LatentSource> latents_of_pictures(LatentCoder coder, std::shared_ptr<const SampleSource> pictures, const LatentsConfig& config,
                                                  std::function<void(std::int64_t)> progress);

}  // namespace fm
