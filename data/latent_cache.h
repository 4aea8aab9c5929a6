// Latents of an image collection, encoded once and kept in files: for training generators when the latents do not fit into memory.
//
//   FOLDER/index.json                   the origin of the latents, and the finished shards with their checksums
//   FOLDER/latents-00000.safetensors    latents (n, C, h, w) f32 or bf16; mirrored: latents of the mirrored images; labels i64 (n);
//                                       count, sum, square_sum: exact sums of the latents as the encoder gave them (data/moments.h)
//   FOLDER/stats.safetensors            mean and var (C, h, w) f32 of all latents; written at the end
//
// Latents are raw: statistics are not applied. A shard and then the index appear by rename, so a killed process loses only the shard
// in progress.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/moments.h"
#include "data/permutation.h"

namespace fm {

// The origin and the form of a cache.
struct LatentCacheInfo {
  std::string encoder;        // checksum of the encoder's weights
  std::string preprocessing;  // the processing of images before the encoder
  std::string data;           // the specification of the images
  std::string given;          // the file of another program that the latents were taken from, and its form; empty: they were encoded
  std::int64_t image_size = 0, channels = 0;
  std::vector<std::string> class_names;
  std::vector<std::int64_t> labels;  // of all images; the index keeps count and checksum, the shards keep the labels
  Shape latent;                      // (C, h, w)
  DType dtype = DType::bf16;         // or f32
  bool mirrored = true;              // also contains the latents of the mirrored images
  std::int64_t shard_size = 1024;    // number of images in a shard
};

struct LatentShard {
  std::int64_t number = 0, first = 0, count = 0;  // images first ... first + count - 1
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;
};

class LatentCacheWriter {
 public:
  using Report = std::function<void(const std::string&)>;

  // Begins a cache, or continues one: every finished shard is read and its checksum verified; a damaged one is reported and made again.
  // ConfigError if the folder contains latents of another encoder, of other images or in another form.
  LatentCacheWriter(std::filesystem::path folder, LatentCacheInfo info, const Report& warn);

  std::vector<LatentShard> missing() const;  // the shards that are not yet written, in order
  std::int64_t finished() const;             // number of written shards

  // Writes a shard. latents and mirrored: (count, C, h, w) f32; `mirrored` is undefined if the cache has no mirrored latents.
  void write(const LatentShard& shard, const Tensor& latents, const Tensor& mirrored, const Moments& moments);

  // Adds up the shards' sums and writes stats.safetensors. Call when all shards are written.
  void finish();

 private:
  std::filesystem::path file(std::int64_t shard) const;
  void write_index() const;

  std::filesystem::path folder_;
  LatentCacheInfo info_;
  std::vector<LatentShard> shards_;
  std::vector<bool> done_;
};

class LatentCache {
 public:
  // FileError if the folder contains no cache, an unfinished one, or files whose sizes or contents differ from the index. Only the writer verifies the
  // checksums of the shards.
  explicit LatentCache(const std::filesystem::path& folder);

  // Reads only the index, of a finished or unfinished cache; `labels` stays empty. No value if the folder has no index.
  static std::optional<LatentCacheInfo> read_info(const std::filesystem::path& folder);
  static bool is_finished(const std::filesystem::path& folder);  // the index lists every shard, and stats.safetensors exists

  const LatentCacheInfo& info() const { return info_; }
  std::int64_t count() const { return static_cast<std::int64_t>(info_.labels.size()); }
  Tensor mean() const { return mean_; }  // f32 (C, h, w), over all latents of the cache
  Tensor variance() const { return variance_; }

  // Writes the C*h*w values of one latent to `out`, as f32. ConfigError if a mirrored latent is requested and the cache has none. Any thread may call it.
  void read(std::int64_t picture, bool mirrored, float* out) const;

 private:
  struct Shard {
    Tensor latents, mirrored;  // views into the mapped file
  };
  LatentCacheInfo info_;
  std::vector<Shard> shards_;
  Tensor mean_, variance_;
};

}  // namespace fm
