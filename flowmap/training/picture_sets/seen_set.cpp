#include "flowmap/training/picture_sets/seen_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "data/threads.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/reference.h"
#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/name_hash.h"

namespace fm {
namespace {

constexpr std::int64_t images_a_file = 128, images_at_a_time = 16, readers = 4;

struct Chunk {
  std::int64_t first, n;
};

std::vector<Chunk> chunks_of(std::int64_t count) {
  std::vector<Chunk> out;
  for (std::int64_t i = 0; i < count; i += images_a_file) out.push_back({i, std::min(images_a_file, count - i)});
  return out;
}

struct SizedImages {
  Tensor pixels;                         // (n, 3, H, W) u8
  std::string size;                      // "WxH"
};

SizedImages decoded(const PictureSet& set, const Chunk& chunk, const std::vector<std::string>& bytes) {
  std::vector<Image> images(bytes.size());
  on_threads(chunk.n, readers, [&](std::int64_t i) {
    images[static_cast<std::size_t>(i)] = with_channels(set.decoded(bytes[static_cast<std::size_t>(i)], chunk.first + i), 3);
  });
  const Image& first = images.front();
  const Tensor out = Tensor::empty({chunk.n, 3, first.height, first.width}, DType::u8, Device{});
  for (std::int64_t i = 0; i < chunk.n; ++i) {
    const Image& image = images[static_cast<std::size_t>(i)];
    if (image.width != first.width || image.height != first.height)
      throw FileError(fmt::format("{}: {} is {}x{} but {} is {}x{}: all images of a set need one size, so resize or crop them first", set.name(), set.member(chunk.first), first.width,
                                  first.height, set.member(chunk.first + i), image.width, image.height));
    planes_from_image(image, out.data<std::uint8_t>() + i * std::int64_t{3} * first.width * first.height);
  }
  return {out, fmt::format("{}x{}", first.width, first.height)};
}

std::vector<std::string> bytes_of(const PictureSet& set, const Chunk& chunk) {
  std::vector<std::string> bytes(static_cast<std::size_t>(chunk.n));
  on_threads(chunk.n, readers, [&](std::int64_t i) { bytes[static_cast<std::size_t>(i)] = set.bytes(chunk.first + i); });
  return bytes;
}

std::string hash_of(const std::string& text) { return fmt::format("{:016x}", name_hash(text)); }

// Size and checksum of each image.
std::string contents_of(const std::vector<std::string>& bytes) {
  std::string text;
  for (const std::string& image : bytes) text += fmt::format(", {} {:08x}", image.size(), crc32c(image));
  return text;
}

// The name of a chunk's file: a hash of the features' fingerprint, the form of the images, and their contents.
std::string key_of(const Features& features, const std::string& form, const std::string& contents) {
  return hash_of(fmt::format("seen 2, {} {} {}", features.name, features.fingerprint, form) + contents);
}

// The features of u8 images (n, 3, H, W), some at a time.
Seen seen_in_parts(const Features& features, const Tensor& pixels) {
  SeenParts parts;
  const std::int64_t n = std::min(seen_at_a_time(pixels.shape().without(0)), images_at_a_time);
  for (std::int64_t i = 0; i < pixels.dim(0); i += n) {
    check_interrupt();
    parts.add(features.see(pixels.slice(0, i, std::min(pixels.dim(0), i + n)).to(DType::f32) / 255.0));
  }
  return parts.joined();
}

NamedTensors tensors_of(const Seen& seen) {
  NamedTensors out{{"vectors", seen.vectors}};
  if (seen.spatial.defined()) out.push_back({"spatial", seen.spatial});
  if (seen.logits.defined()) out.push_back({"logits", seen.logits});
  return out;
}

class FeatureStore {
 public:
  FeatureStore(const PictureSet& set, const Features& features, const SeeOptions& options, Messages& log) : set_(set), features_(features), options_(options), log_(log) {
    std::error_code error;
    std::filesystem::create_directories(options.cache, error);
    if (error) throw FileError(fmt::format("{}: cannot make the folder for features: {}", options.cache.string(), error.message()));
  }

  // Computes and stores the chunk's outputs unless they are stored. Returns the contents of its images.
  std::string store(const Chunk& chunk) const {
    check_interrupt();
    const std::vector<std::string> bytes = bytes_of(set_, chunk);
    std::string contents = contents_of(bytes), size;
    NamedTensors stored;
    if (!read(key(contents), chunk, stored, size)) compute(chunk, bytes, key(contents));
    return contents;
  }

  // The stored outputs of a chunk that was prepared.
  NamedTensors load(const std::string& contents, const Chunk& chunk, std::string& size) const {
    NamedTensors out;
    if (!read(key(contents), chunk, out, size)) throw FileError(fmt::format("{}: the features that were stored there are gone: run the command again", file(key(contents)).string()));
    return out;
  }

  std::string contents(const Chunk& chunk) const { return contents_of(bytes_of(set_, chunk)); }

 private:
  std::string key(const std::string& contents) const { return key_of(features_, set_.form(), contents); }
  std::filesystem::path file(const std::string& key) const { return options_.cache / (key + ".safetensors"); }

  bool read(const std::string& key, const Chunk& chunk, NamedTensors& out, std::string& size) const {
    std::error_code ignored;
    if (!std::filesystem::exists(file(key), ignored)) return false;
    try {
      const Safetensors stored(file(key));
      const auto entry = [&](const char* name) {
        const auto found = stored.metadata().find(name);
        return found == stored.metadata().end() ? std::string() : found->second;
      };
      for (const char* name : {"vectors", "spatial", "logits"})                 // in the order of tensors_of, on which the checksum depends
        if (stored.has(name)) out.push_back({name, stored[name]});
      for (const auto& [name, tensor] : out)
        if (tensor.rank() != 2 || tensor.dim(0) != chunk.n || tensor.dtype() != DType::f32) throw FileError("other sizes");
      if (entry("checksum") != checksum(out) || entry("features") != features_.fingerprint) throw FileError("wrong checksum");
      size = entry("size");
      return true;
    } catch (const Error& e) {
      log_.warning("{}: {}: the features are computed again", file(key).string(), e.what());
      out.clear();
      return false;
    }
  }

  void compute(const Chunk& chunk, const std::vector<std::string>& bytes, const std::string& key) const {
    const SizedImages images = decoded(set_, chunk, bytes);
    const Seen seen = seen_in_parts(features_, images.pixels);
    if (const std::int64_t bad = first_row_not_finite(seen.vectors); bad >= 0)
      throw Error(fmt::format("{}: features of {} are not finite: the weights of {} are damaged", set_.name(), set_.member(chunk.first + bad), features_.name));
    const NamedTensors tensors = tensors_of(seen);
    save_safetensors(file(key), tensors, {{"features", features_.fingerprint}, {"size", images.size}, {"checksum", checksum(tensors)}});
  }

  const PictureSet& set_;
  const Features& features_;
  const SeeOptions& options_;
  Messages& log_;
};

// Copies rows into the tensor of all rows, which the first call makes.
void put(Tensor& all, std::int64_t count, const Tensor& rows, std::int64_t first) {
  if (!all.defined()) all = Tensor::empty({count, rows.dim(1)}, rows.dtype(), Device{});
  all.slice(0, first, first + rows.dim(0)).copy_from(rows);
}

}  // namespace

SeenSet seen_set(const PictureSet& set, const Features& features, const SeeOptions& options, Communicator& ranks, Messages& log) {
  const FeatureStore store(set, features, options, log);
  SeenSet out{.name = set.name(), .id = {}, .count = set.count_up_to(options.limit)};
  const std::vector<Chunk> chunks = chunks_of(out.count);
  std::vector<std::string> contents(chunks.size());
  std::int64_t done = 0;
  for (std::size_t c = static_cast<std::size_t>(ranks.rank()); c < chunks.size(); c += static_cast<std::size_t>(ranks.size())) {
    contents[c] = store.store(chunks[c]);
    done = std::min(out.count, done + chunks[c].n * ranks.size());
    if (options.progress) options.progress(done);
  }
  ranks.barrier();
  std::string all, size, first_size;
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    if (contents[c].empty()) contents[c] = store.contents(chunks[c]);
    for (const auto& [name, rows] : store.load(contents[c], chunks[c], size)) {
      Tensor& of = name == "vectors" ? out.vectors : name == "spatial" ? out.spatial : out.logits;
      if (name == "vectors" || (name == "spatial" && options.spatial) || (name == "logits" && options.logits)) put(of, out.count, rows, chunks[c].first);
    }
    if (first_size.empty()) first_size = size;
    if (size != first_size)
      throw FileError(fmt::format("{}: {} is {} but {} is {}: all images of a set need one size, so resize or crop them first", set.name(), set.member(0), first_size,
                                  set.member(chunks[c].first), size));
    all += contents[c];
  }
  out.id = id_of_contents(set, out.count, all);
  const Image first = set.image(0);
  out.height = first.height, out.width = first.width;
  return out;
}

std::string id_of_contents(const PictureSet& set, std::int64_t count, const std::string& contents) {
  return hash_of(fmt::format("{} images {}", count, set.form()) + contents);
}

RgbImages rgb_images(const PictureSet& set, std::int64_t first, std::int64_t n) {
  const Chunk chunk{first, n};
  const std::vector<std::string> bytes = bytes_of(set, chunk);
  return {decoded(set, chunk, bytes).pixels, contents_of(bytes)};
}

}  // namespace fm
