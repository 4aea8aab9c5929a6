#include "data/source.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/crc32c.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

class DatasetSource : public SampleSource {
 public:
  explicit DatasetSource(std::shared_ptr<const Dataset> data) : data_(std::move(data)) {}
  std::string name() const override { return data_->name; }
  std::int64_t count() const override { return data_->count; }
  Shape shape() const override { return {data_->channels, data_->height, data_->width}; }
  DType dtype() const override { return DType::u8; }
  std::int32_t label(std::int64_t index) const override { return data_->labels[std::size_t(index)]; }
  const std::vector<std::string>& class_names() const override { return data_->class_names; }
  const std::vector<std::string>& notes() const override { return data_->notes; }
  void read(std::int64_t index, const PhiloxBlock&, void* out) const override {
    std::copy_n(data_->sample(index), data_->sample_size(), static_cast<std::uint8_t*>(out));
  }

 private:
  std::shared_ptr<const Dataset> data_;
};

}  // namespace

const std::vector<std::string>& SampleSource::notes() const {
  static const std::vector<std::string> none;
  return none;
}

void SampleSource::read_noise(std::int64_t, float*) const { throw Error(name() + " has no noise with its samples"); }

PictureSize picture_size(const SampleSource& source, const std::string& user) {
  const Shape s = source.shape();
  if (source.dtype() != DType::u8 || s.rank() != 3 || (s[0] != 1 && s[0] != 3))
    throw ConfigError(fmt::format("{}: samples are {} {}; {} needs images, u8 [channels, height, width] of 1 or 3 channels: give other --data",
                                  source.name(), name_of(source.dtype()), to_string(s), user));
  return {narrow<int>(s[0], "channels"), narrow<int>(s[1], "height"), narrow<int>(s[2], "width")};
}

std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data) {
  return std::make_shared<DatasetSource>(std::move(data));
}

std::string fingerprint(const SampleSource& source) {
  const Shape shape = source.shape();
  std::string head = fmt::format("{} ", source.count());
  for (const std::int64_t d : shape) head += fmt::format("{} ", d);
  if (source.dtype() != DType::u8) head += fmt::format("{} ", name_of(source.dtype()));
  std::uint32_t crc = crc32c(head);
  for (const std::string& name : source.class_names()) crc = crc32c(name + "/", crc);
  std::string sample(static_cast<std::size_t>(shape.numel()) * size_of(source.dtype()), '\0');
  for (std::int64_t i = 0; i < source.count(); ++i) {
    crc = crc32c(fmt::format("{} ", source.label(i)), crc);
    if (const std::optional<std::string> stamp = source.stamp(i)) {
      crc = crc32c(*stamp, crc);
    } else {
      source.read(i, {}, sample.data());
      crc = crc32c(sample, crc);
      if (!source.has_noise()) continue;
      std::string noise(static_cast<std::size_t>(shape.numel()) * sizeof(float), '\0');
      source.read_noise(i, reinterpret_cast<float*>(noise.data()));
      crc = crc32c(noise, crc);
    }
  }
  return fmt::format("{:08x}", crc);
}

}  // namespace fm
