#include "flowmap/training/chain/latents.h"

#include <algorithm>

#include "data/threads.h"
#include "tensor/narrow.h"
#include "tensor/parallel.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

Tensor mirrored_images(const Tensor& images) {
  const Tensor in = images.contiguous();
  const Tensor out = Tensor::empty(in.shape(), DType::f32, Device{});
  const std::int64_t width = in.dim(-1);
  const float* from = in.data<float>();
  float* to = out.data<float>();
  parallel_for(in.numel() / width, width,
               [&](std::int64_t i) { std::reverse_copy(from + i * width, from + (i + 1) * width, to + i * width); });
  return out;
}

LatentStats as_stats(const Moments& m) { return {m.mean().to(DType::f32), m.variance().to(DType::f32)}; }

// Returns latents and labels of these rows in their order. read(row, place) writes the latent of a row, label(index) returns a label.
template <class Read, class Label>
LatentSet gathered(const std::vector<EpochRow>& rows, const Shape& latent, std::int64_t workers, const Label& label, const Read& read) {
  const auto n = static_cast<std::int64_t>(rows.size());
  LatentSet set{{Tensor::empty(latent.rows(n), DType::f32, Device{})}, {}, Tensor::empty({n}, DType::i64, Device{})};
  float* to = set.raw.values.data<float>();
  std::int64_t* labels = set.labels.data<std::int64_t>();
  on_threads(n, workers, [&](std::int64_t i) {
    const EpochRow& row = rows[static_cast<std::size_t>(i)];
    read(row, to + i * latent.numel());
    labels[i] = label(row.index);
  });
  return set;
}

class MemoryLatents : public LatentSource {
 public:
  explicit MemoryLatents(LatentSet set) : set_(std::move(set)), latent_(set_.raw.values.select(0, 0).shape()) {}
  std::int64_t count() const override { return set_.raw.values.dim(0); }

  LatentSet take(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t) override {
    const std::int64_t size = latent_.numel();
    const std::int64_t* labels = set_.labels.data<std::int64_t>();
    const std::vector<EpochRow> rows = epoch_rows(count(), seed, first, n);
    LatentSet set = gathered(
        rows, latent_, 1, [&](std::int64_t i) { return labels[i]; },
        [&](const EpochRow& row, float* out) {
          const RawLatents& from = set_.mirrored.values.defined() && is_mirrored(seed, row) ? set_.mirrored : set_.raw;
          std::copy_n(from.values.data<float>() + row.index * size, size, out);
        });
    if (!set_.noise.defined()) return set;
    set.noise = Tensor::empty(set.raw.values.shape(), DType::f32, Device{});
    float* to = set.noise.data<float>();
    for (const EpochRow& row : rows) to = std::copy_n(set_.noise.data<float>() + row.index * size, size, to);
    return set;
  }

  LatentStats statistics() override {
    Moments m(latent_);
    m.add(set_.raw.values);
    if (set_.mirrored.values.defined()) m.add(set_.mirrored.values);
    return as_stats(m);
  }

 private:
  LatentSet set_;
  Shape latent_;
};

class FileLatents : public LatentSource {
 public:
  FileLatents(std::shared_ptr<const LatentCache> cache, std::int64_t workers) : cache_(std::move(cache)), workers_(workers) {}
  std::int64_t count() const override { return cache_->count(); }
  LatentStats statistics() override { return {cache_->mean(), cache_->variance()}; }

  LatentSet take(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next) override {
    if (!ahead_ || seed != seed_) {
      seed_ = seed;
      ahead_ =
          std::make_unique<ReadAhead<LatentSet>>([this, seed](std::int64_t from, std::int64_t rows) { return read(seed, from, rows); });
    }
    return ahead_->take(first, n, next);
  }

 private:
  LatentSet read(std::uint64_t seed, std::int64_t first, std::int64_t n) const {
    const LatentCacheInfo& info = cache_->info();
    return gathered(
        epoch_rows(count(), seed, first, n), info.latent, workers_,
        [&](std::int64_t i) { return info.labels[static_cast<std::size_t>(i)]; },
        [&](const EpochRow& row, float* out) { cache_->read(row.index, info.mirrored && is_mirrored(seed, row), out); });
  }

  std::shared_ptr<const LatentCache> cache_;
  std::int64_t workers_;
  std::uint64_t seed_ = 0;
  std::unique_ptr<ReadAhead<LatentSet>> ahead_;
};

class PictureLatents : public LatentSource {
 public:
  PictureLatents(LatentCoder coder, std::shared_ptr<const SampleSource> pictures, const LatentsConfig& config,
                 std::function<void(std::int64_t)> progress)
      : coder_(std::move(coder)), pictures_(std::move(pictures)), config_(config), progress_(std::move(progress)) {}
  std::int64_t count() const override { return pictures_->count(); }

  LatentSet take(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next) override {
    if (!loader_ || seed != seed_) {
      seed_ = seed;
      loader_ = std::make_unique<Loader>(pictures_,
                                         LoaderOptions{.seed = seed, .flip = config_.flip, .workers = narrow<int>(config_.workers)});
    }
    const SampleBatch batch = loader_->take(first, n, next);
    return {{coder_.encode(batch.x.to(default_device()))}, {}, batch.labels};
  }

  LatentStats statistics() override {
    std::optional<Moments> m;
    encode_pictures(coder_, pictures_, config_, 0, count(), [&](std::int64_t first, const LatentSet& set) {
      if (!m) m.emplace(coder_.stored());
      m->add(set.raw.values);
      if (set.mirrored.values.defined()) m->add(set.mirrored.values);
      progress_(first + set.raw.values.dim(0));
    });
    return as_stats(*m);
  }

 private:
  LatentCoder coder_;
  std::shared_ptr<const SampleSource> pictures_;
  LatentsConfig config_;
  std::function<void(std::int64_t)> progress_;
  std::uint64_t seed_ = 0;
  std::unique_ptr<Loader> loader_;
};

}  // namespace

Tensor image_rows(const Dataset& data, const std::vector<std::int64_t>& rows) {
  Tensor out = Tensor::empty({static_cast<std::int64_t>(rows.size()), data.channels, data.height, data.width}, DType::f32, Device{});
  float* to = out.data<float>();
  for (std::int64_t row : rows) {
    const std::uint8_t* from = data.sample(row);
    for (std::int64_t i = 0; i < data.sample_size(); ++i) *to++ = static_cast<float>(from[i]) / 255.0f;
  }
  return out;
}

Tensor label_rows(const Dataset& data, const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> labels;
  for (std::int64_t row : rows) labels.push_back(data.labels[static_cast<std::size_t>(row)]);
  return Tensor::from(labels, {static_cast<std::int64_t>(rows.size())});
}

Batch random_batch(const Recipe& recipe, std::int64_t rows, std::uint64_t seed) {
  const Samples samples = consecutive(0, rows);
  return {random_normal_rows(samples, recipe.latent_shape(), {seed, 1}), recipe.conditional ? Tensor::zeros({rows}, DType::i64) : Labels(),
          {seed, 0, samples}};
}

void encode_pictures(const LatentCoder& coder, const std::shared_ptr<const SampleSource>& pictures, const LatentsConfig& config, std::int64_t first,
                     std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block) {
  Loader loader(pictures, {.shuffle = false, .workers = narrow<int>(config.workers)});
  for (std::int64_t i = first; i < first + count; i += config.batch) {
    const SampleBatch batch = loader.take(i, std::min(config.batch, first + count - i));
    const auto encoded = [&](const Tensor& pixels) { return RawLatents{coder.encode(pixels.to(default_device())).to(Device{})}; };
    block(i, {encoded(batch.x), config.flip ? encoded(mirrored_images(batch.x)) : RawLatents(), batch.labels});
  }
}

std::unique_ptr<LatentSource> latents_in_memory(LatentSet set) { return std::make_unique<MemoryLatents>(std::move(set)); }

std::unique_ptr<LatentSource> latents_in_files(std::shared_ptr<const LatentCache> cache, std::int64_t workers) {
  return std::make_unique<FileLatents>(std::move(cache), workers);
}

std::unique_ptr<LatentSource> latents_of_pictures(LatentCoder coder, std::shared_ptr<const SampleSource> pictures, const LatentsConfig& config,
                                                  std::function<void(std::int64_t)> progress) {
  return std::make_unique<PictureLatents>(std::move(coder), std::move(pictures), config, std::move(progress));
}

LatentSet samples_as_latents(const SampleSource& source) {
  const std::int64_t n = source.count(), size = source.shape().numel();
  LatentSet set{{Tensor::empty(source.shape().rows(n), DType::f32, Device{})}, {}, Tensor::empty({n}, DType::i64, Device{})};
  float* to = set.raw.values.data<float>();
  std::int64_t* labels = set.labels.data<std::int64_t>();
  parallel_for(n, size, [&](std::int64_t i) {
    source.read(i, {}, to + i * size);
    labels[i] = source.label(i);
  });
  if (!source.has_noise()) return set;
  set.noise = Tensor::empty(set.raw.values.shape(), DType::f32, Device{});
  float* noise = set.noise.data<float>();
  parallel_for(n, size, [&](std::int64_t i) { source.read_noise(i, noise + i * size); });
  return set;
}

}  // namespace fm
