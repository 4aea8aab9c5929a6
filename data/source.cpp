#include "data/source.h"

#include <algorithm>

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
  void read(std::int64_t index, const PhiloxBlock&, std::uint8_t* planes) const override {
    std::copy_n(data_->sample(index), data_->sample_size(), planes);
  }

 private:
  std::shared_ptr<const Dataset> data_;
};

}  // namespace

std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data) {
  return std::make_shared<DatasetSource>(std::move(data));
}

}  // namespace fm
