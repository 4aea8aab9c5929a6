#include "flowmap/training/setup/data_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/kinds.h"
#include "data/pictures.h"
#include "data/source.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::int64_t most_looked_at = 64, least_test = 4, least_side = 8;

bool takes(const DataKind& kind, std::string_view key) {
  return std::any_of(kind.keys.begin(), kind.keys.end(), [&](const DataKey& k) { return key == k.name; });
}

bool is_grey(const Image& image) {
  if (image.channels == 1) return true;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3)
    if (image.pixels[i] != image.pixels[i + 1] || image.pixels[i] != image.pixels[i + 2]) return false;
  return true;
}

// Finds sizes and colors of images in files. Reads at most `most_looked_at` of them.
void look_at_files(const PictureSource& source, DataFacts& facts) {
  const std::int64_t n = std::min(most_looked_at, source.count());
  std::vector<std::int64_t> shorter;
  bool grey = true;
  for (std::int64_t i = 0; i < n; ++i) {
    const Image image = source.original(i * source.count() / n);
    const std::int64_t width = image.width, height = image.height;
    grey = grey && is_grey(image);
    shorter.push_back(std::min(width, height));
    facts.least_width = i == 0 ? width : std::min(facts.least_width, width), facts.most_width = std::max(facts.most_width, width);
    facts.least_height = i == 0 ? height : std::min(facts.least_height, height), facts.most_height = std::max(facts.most_height, height);
  }
  std::sort(shorter.begin(), shorter.end());
  if (facts.open_size) facts.side = shorter[shorter.size() / 20];
  if (facts.open_channels) facts.channels = grey ? 1 : 3;
}

void take_shape(const SampleSource& source, DataFacts& facts) {
  facts.pictures = source.dtype() == DType::u8;
  if (!facts.pictures) {
    facts.shape = source.shape();
    return;
  }
  const PictureSize size = picture_size(source, "a chain for images");
  if (size.width != size.height)
    throw ConfigError(fmt::format("{}: images of {}x{}: a chain needs square images; only folder:, zip: and tar: can cut them to squares (?size=N)", facts.data,
                                  size.width, size.height));
  facts.side = facts.least_width = facts.most_width = facts.least_height = facts.most_height = size.height;
  facts.channels = size.channels;
}

void refuse_what_teaches_nothing(const DataFacts& f) {
  if (f.pictures && f.classes() < 2)
    throw ConfigError(fmt::format("{}: one class of images ({}): a model needs two at least; sort the images into two folders", f.data, f.class_names.at(0)));
  if (!f.pictures && f.shape == Shape{2})
    throw ConfigError(fmt::format("{}: points of the plane have a recipe of their own: flowmap_train pipeline --config configs/toy.toml --data {}", f.data, f.data));
  if (f.pictures && f.side < least_side)
    throw ConfigError(fmt::format("{}: the shorter side of images is {} pixels; {} at least are needed: give ?size={}, which enlarges them", f.data, f.side, least_side, least_side));
  if (f.test < least_test)
    throw FileError(fmt::format("{}: {} samples for training and {} for the test; an evaluation needs {} test samples at least: add samples (every tenth of a class is for the test), "
                                "or give a test split of your own", f.data, f.train, f.test, least_test));
}

}  // namespace

std::string with_keys(const std::string& data, const std::vector<std::pair<std::string, std::int64_t>>& keys) {
  std::string out = data;
  for (const auto& [key, value] : keys) out += fmt::format("{}{}={}", out.find('?') == std::string::npos ? "?" : ",", key, value);
  return out;
}

DataFacts look_at(const std::string& data) {
  const DataSpec spec = parse_data_spec(data);
  const DataKind& kind = kind_of(spec);
  DataFacts facts{.data = data};
  const bool in_files = takes(kind, "crop");
  facts.open_size = in_files && !spec.options.contains("size");
  facts.open_channels = in_files && !spec.options.contains("channels");
  facts.has_limit = takes(kind, "limit") && !spec.options.contains("limit");
  const std::string opened = facts.open_size ? with_keys(data, {{"size", least_side}}) : data;
  const std::shared_ptr<const SampleSource> source = open_source(opened, Split::train);
  take_shape(*source, facts);
  if (const auto* files = dynamic_cast<const PictureSource*>(source.get())) look_at_files(*files, facts);
  facts.train = source->count(), facts.class_names = source->class_names(), facts.notes = source->notes();
  facts.class_counts.resize(facts.class_names.size());
  for (std::int64_t i = 0; i < facts.train; ++i) ++facts.class_counts.at(static_cast<std::size_t>(source->label(i)));
  facts.test = open_source(opened, Split::test)->count();
  refuse_what_teaches_nothing(facts);
  return facts;
}

std::string facts_text(const DataFacts& f) {
  std::string what = "samples of " + to_string(f.shape);
  if (f.pictures) {
    const std::string least = fmt::format("{}x{}", f.least_width, f.least_height), most = fmt::format("{}x{}", f.most_width, f.most_height);
    what = fmt::format("{} images of {}{} pixels", f.channels == 1 ? "grey" : "color", least, least == most ? "" : " to " + most);
  }
  std::vector<std::string> classes;
  for (std::size_t i = 0; i < f.class_names.size(); ++i) classes.push_back(fmt::format("{} {}", f.class_names[i], f.class_counts[i]));
  return fmt::format("{} {} for training and {} for the test; {} class{}: {}", f.train, what, f.test, f.classes(), f.classes() == 1 ? "" : "es", first_of(classes, 8));
}

}  // namespace fm
