#include "data/source.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/image_folder.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

class DatasetSource : public SampleSource {
 public:
  explicit DatasetSource(std::shared_ptr<const Dataset> data) : data_(std::move(data)) {}
  std::int64_t count() const override { return data_->count; }
  int channels() const override { return data_->channels; }
  int height() const override { return data_->height; }
  int width() const override { return data_->width; }
  std::int32_t label(std::int64_t index) const override { return data_->labels[std::size_t(index)]; }
  const std::vector<std::string>& class_names() const override { return data_->class_names; }
  const std::vector<std::string>& notes() const override { return data_->notes; }
  void read(std::int64_t index, const PhiloxBlock&, std::uint8_t* planes) const override {
    std::copy_n(data_->sample(index), data_->sample_size(), planes);
  }

 private:
  std::shared_ptr<const Dataset> data_;
};

}  // namespace

const std::vector<std::string>& SampleSource::notes() const {
  static const std::vector<std::string> none;
  return none;
}

std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data) {
  return std::make_shared<DatasetSource>(std::move(data));
}

std::string fingerprint(const SampleSource& source) {
  const auto size = static_cast<std::size_t>(source.channels()) * static_cast<std::size_t>(source.height()) * static_cast<std::size_t>(source.width());
  std::uint32_t crc = crc32c(fmt::format("{} {} {} {} ", source.count(), source.channels(), source.height(), source.width()));
  for (const std::string& name : source.class_names()) crc = crc32c(name + "/", crc);
  const auto* folder = dynamic_cast<const ImageFolder*>(&source);
  std::vector<std::uint8_t> planes(size);
  for (std::int64_t i = 0; i < source.count(); ++i) {
    crc = crc32c(fmt::format("{} ", source.label(i)), crc);
    if (folder != nullptr) {
      const std::filesystem::path& file = folder->files()[static_cast<std::size_t>(i)].path;
      std::error_code error;
      crc = crc32c(fmt::format("{} {} ", file.filename().string(), std::filesystem::file_size(file, error)), crc);
    } else {
      source.read(i, {}, planes.data());
      crc = crc32c({reinterpret_cast<const char*>(planes.data()), planes.size()}, crc);
    }
  }
  return fmt::format("{:08x}", crc);
}

}  // namespace fm
