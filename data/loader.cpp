#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "data/permutation.h"
#include "tensor/error.h"

namespace fm {
namespace {

// Streams of the loader's random numbers, apart from those of training.
enum : std::uint32_t { order_stream = 0x4f524400, flip_stream, augment_stream };

constexpr std::size_t batches_ahead = 2;  // batches: one in hand-over, one being made

class DatasetSource : public SampleSource {
 public:
  explicit DatasetSource(std::shared_ptr<const Dataset> data) : data_(std::move(data)) {}
  std::int64_t count() const override { return data_->count; }
  int channels() const override { return data_->channels; }
  int height() const override { return data_->height; }
  int width() const override { return data_->width; }
  std::int32_t label(std::int64_t index) const override { return data_->labels[std::size_t(index)]; }
  void read(std::int64_t index, std::uint8_t* planes) const override { std::copy_n(data_->sample(index), data_->sample_size(), planes); }

 private:
  std::shared_ptr<const Dataset> data_;
};

void mirror(const ImageSample& s) {
  for (int row = 0; row < s.channels * s.height; ++row) std::reverse(s.pixels + row * s.width, s.pixels + (row + 1) * s.width);
}

void check(const SampleSource& source, const LoaderOptions& o) {
  if (o.world < 1 || o.rank < 0 || o.rank >= o.world) throw ConfigError(fmt::format("loader: rank {} of {} ranks", o.rank, o.world));
  if (o.batch < 1 || o.batch % o.world != 0) {
    throw ConfigError(fmt::format("loader: batch {} is not a positive multiple of the {} ranks", o.batch, o.world));
  }
  if (o.batch > source.count()) {
    throw ConfigError(fmt::format("loader: batch {} is larger than the data set of {} samples", o.batch, source.count()));
  }
}

}  // namespace

std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data) {
  return std::make_shared<DatasetSource>(std::move(data));
}

// The background thread and what it shares, guarded by the mutex. The thread comes last: it starts when all the rest exists.
struct Loader::Prefetch {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<ImageBatch> ready;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;

  Prefetch(const Loader& loader, std::int64_t step) : thread([this, &loader, step] { run(loader, step); }) {}
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  void run(const Loader& loader, std::int64_t step) {
    try {
      for (;; ++step) {
        ImageBatch batch = loader.batch(step);
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || ready.size() < batches_ahead; });
        if (stop) return;
        ready.push_back(std::move(batch));
        changed.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      changed.notify_all();
    }
  }

  ImageBatch take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return error || !ready.empty(); });
    if (ready.empty()) std::rethrow_exception(error);
    ImageBatch batch = std::move(ready.front());
    ready.pop_front();
    changed.notify_all();
    return batch;
  }
};

Loader::Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options) : source_(std::move(source)), options_(std::move(options)) {
  check(*source_, options_);
}
Loader::Loader(std::shared_ptr<const Dataset> data, LoaderOptions options) : Loader(as_source(std::move(data)), std::move(options)) {}
Loader::~Loader() = default;

std::int64_t Loader::steps_per_epoch() const { return source_->count() / options_.batch; }
const LoaderOptions& Loader::options() const { return options_; }

ImageBatch Loader::batch(std::int64_t step) const {
  if (step < 0) throw ShapeError(fmt::format("loader: step {} is negative", step));
  ImageBatch b{step, step / steps_per_epoch(), options_.batch / options_.world, source_->channels(), source_->height(), source_->width(), {}, {}, {}, {}};
  const Permutation order(source_->count(), {options_.seed, order_stream}, std::uint32_t(b.epoch));
  const std::int64_t first_in_epoch = step % steps_per_epoch() * options_.batch, sample_size = std::int64_t(b.channels) * b.height * b.width;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(sample_size));
  b.pixels.resize(std::size_t(b.size * sample_size));
  for (std::int64_t i = 0; i < b.size; ++i) {
    const std::int64_t in_batch = options_.rank * b.size + i, in_epoch = first_in_epoch + in_batch;
    const std::int64_t index = options_.shuffle ? order(in_epoch) : in_epoch;
    const ImageSample s{b.pixels.data() + i * sample_size, b.channels, b.height, b.width, step * options_.batch + in_batch, index, b.epoch,
                   source_->label(index), {options_.seed, augment_stream}};
    source_->read(index, bytes.data());
    for (std::int64_t k = 0; k < sample_size; ++k) s.pixels[k] = float(bytes[std::size_t(k)]) * (1.0f / 255.0f);
    if (options_.flip && (RandomKey{options_.seed, flip_stream}.block(std::uint64_t(s.position))[0] & 1u)) mirror(s);
    if (options_.augment) options_.augment(s);
    b.positions.push_back(s.position);
    b.indices.push_back(index);
    b.labels.push_back(s.label);
  }
  return b;
}

ImageBatch Loader::next() {
  if (!prefetch_) seek(0);
  return prefetch_->take();
}

void Loader::seek(std::int64_t step) {
  prefetch_.reset();
  prefetch_ = std::make_unique<Prefetch>(*this, step);
}

}  // namespace fm
