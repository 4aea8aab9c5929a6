#include "data/picture_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/class_names.h"
#include "data/image_file.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t max_classes = 10'000'000;

std::int64_t largest_label(const PictureStore& store) {
  std::int64_t largest = -1;
  for (std::int64_t i = 0; i < store.count(); ++i) largest = std::max<std::int64_t>(largest, store.label(i));
  return largest;
}

class StoredPictures : public PictureSource {
 public:
  StoredPictures(std::shared_ptr<const PictureStore> store, const PictureOptions& options, std::vector<std::string> class_names, Split split,
                 bool hold_out)
      : PictureSource(store->name(), options), store_(std::move(store)) {
    class_names_ = std::move(class_names);
    notes_ = store_->notes();
    labels_ = checked_labels(
        store_->count(), class_names_.size(), name_, [&](std::int64_t i) { return std::int64_t{store_->label(i)}; },
        [&](std::int64_t i) { return store_->member(i); });
    rows_ = rows_of_split(labels_, class_names_.size(), split, hold_out, options.limit_per_class);
    if (rows_.empty())
      throw FileError(fmt::format("{}: no images for {}{}", name_, split == Split::train ? "training" : "the test",
                                  hold_out ? " (every tenth of a class is for the test; test=PATH names a test split)" : ""));
  }
  std::int64_t count() const override { return std::int64_t(rows_.size()); }
  std::int32_t label(std::int64_t index) const override { return labels_[std::size_t(rows_[std::size_t(index)])]; }
  std::optional<std::string> stamp(std::int64_t index) const override { return store_->stamp(rows_[std::size_t(index)]); }

 protected:
  Image picture(std::int64_t index, int channels) const override {
    const std::int64_t row = rows_[std::size_t(index)];
    const std::string bytes = store_->bytes(row);
    return decode_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, store_->member(row), channels);
  }

 private:
  std::shared_ptr<const PictureStore> store_;
  std::vector<std::int32_t> labels_;  // labels of all samples of the store
  std::vector<std::int64_t> rows_;    // samples of this split
};

}  // namespace

ClassOptions class_options(DataSpec& spec) {
  ClassOptions options;
  options.classes = spec.number("classes", 0, 1, max_classes);
  options.names = spec.string("class_names");
  return options;
}

std::vector<std::string> class_list(const ClassOptions& options, std::vector<std::string> found, std::int64_t largest, const std::string& name) {
  if (!options.names.empty()) found = read_class_names(options.names);
  if (options.classes > 0 && !found.empty() && std::ssize(found) != options.classes)
    throw ConfigError(fmt::format("{}: classes={}, but there are {} class names{}: leave classes out, or correct the names", name, options.classes,
                                  found.size(), options.names.empty() ? "" : " in " + options.names));
  if (largest < 0 && (options.classes > 0 || !options.names.empty()))
    throw ConfigError(fmt::format("{}: its samples have no labels, so leave out classes and class_names", name));
  if (largest < 0) return {"all"};
  if (largest >= max_classes) throw FileError(fmt::format("{}: label {} is too large: only labels below {} are read", name, largest, max_classes));
  const std::int64_t classes = !found.empty() ? std::ssize(found) : options.classes > 0 ? options.classes : largest + 1;
  if (largest >= classes)
    throw ConfigError(fmt::format("{}: label {}, but there are {} classes (labels begin with 0): correct {}", name, largest, classes,
                                  options.classes > 0 ? "classes=" : "the class names"));
  for (std::int64_t i = std::ssize(found); i < classes; ++i) found.push_back(std::to_string(i));
  return found;
}

std::vector<std::int32_t> checked_labels(std::int64_t count, std::size_t classes, const std::string& name,
                                         const std::function<std::int64_t(std::int64_t)>& label,
                                         const std::function<std::string(std::int64_t)>& member) {
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count), 0);
  std::int64_t first_without = -1, without = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t l = label(i);
    if (l < 0 && without++ == 0) first_without = i;
    if (l >= std::int64_t(classes))
      throw FileError(fmt::format("{}: {} has label {}, but the training split has {} classes", name, member(i), l, classes));
    labels[std::size_t(i)] = narrow<std::int32_t>(std::max<std::int64_t>(l, 0), "label");
  }
  if (without > 0 && without < count)
    throw FileError(fmt::format("{}: {} of {} samples have no label, the first is {}: label all of them or none", name, without, count,
                                member(first_without)));
  return labels;
}

std::shared_ptr<const SampleSource> open_stored(DataSpec& spec, Split split, const std::string& usage,
                                                const std::function<std::shared_ptr<const PictureStore>(const std::string&)>& open) {
  const PictureOptions options = picture_options(spec, split, usage);
  const ClassOptions classes = class_options(spec);
  const std::string test = spec.string("test");
  const std::shared_ptr<const PictureStore> train = open(*spec.path);  // needed for the test split too: it decides the classes
  std::vector<std::string> names = class_list(classes, train->class_names(), largest_label(*train), train->name());
  const bool own = split == Split::test && !test.empty();
  return std::make_shared<StoredPictures>(own ? open(test) : train, options, std::move(names), split, test.empty());
}

}  // namespace fm
