#include "data/kinds.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "data/array_source.h"
#include "data/cifar.h"
#include "data/image_folder.h"
#include "data/pictures.h"
#include "data/points.h"
#include "data/shapes.h"
#include "data/sines.h"
#include "data/tar_shards.h"
#include "data/zip_pictures.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t max_count = std::int64_t(1) << 32;

Dataset load_fashion(DataSpec& spec, Split split) {
  const int size = narrow<int>(spec.number("size", 28, 28, 1024));
  const std::int64_t limit = spec.number("limit", max_count, 1, max_count);
  Dataset data = first_samples(load_fashion_mnist(split, spec.path.value_or("")), limit);
  return size == 28 ? data : padded(data, size);
}

Dataset load_shapes(DataSpec& spec, Split split) {
  spec.refuse_path("shapes are generated, not read");
  ShapesOptions options;
  options.count = spec.number("count", split == Split::train ? 20000 : 2000, 1, max_count);
  options.size = narrow<int>(spec.number("size", options.size, 8, 1024));
  options.channels = narrow<int>(spec.number("channels", options.channels, 1, 3));
  options.seed = std::uint64_t(spec.number("seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
  return draw_shapes(options, split);
}

std::vector<DataKey> keys_of_pictures(std::vector<DataKey> more = {}) {
  std::vector<DataKey> keys{{"size", "side of the images after the crop, pixels (required)"},
                            {"channels", "3 for RGB (default), 1 for grey"},
                            {"limit", "number of images of each class, the first ones (default: all)"},
                            {"crop", "center (default), or random: a random crop each epoch, in the training split only"}};
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

std::vector<DataKey> keys_of_labels(std::vector<DataKey> more = {}) {
  std::vector<DataKey> keys{{"test", "the test split, a path like the first one (default: every tenth sample of each class)"},
                            {"classes", "number of classes (default: one more than the largest label)"},
                            {"class_names", "file with one class name per line, or imagenet"}};
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

DataKind array_kind() {
  return {.name = "arrays",
          .usage = "arrays:FILE.npy|FILE.npz",
          .help = "the rows of a NumPy array of any shape",
          .keys = keys_of_labels({{"x", "the array of samples in a .npz"},
                                  {"y", "the array of labels in a .npz"},
                                  {"noise", "the array in a .npz with the noise of each sample: trainings take these pairs in place of random noise (space identity)"},
                                  {"labels", ".npy file with the labels"},
                                  {"test_x", "the array in the same .npz with the samples of the test split"},
                                  {"test_y", "the array in the same .npz with the labels of the test split"},
                                  {"test_labels", ".npy file with the labels of the test split"},
                                  {"layout", "as-is (default); hwc or hw: rows of images (h, w, c) or (h, w); lc: rows of sequences (length, channels)"},
                                  {"limit", "number of rows of each class, the first ones (default: all)"}}),
          .open = open_arrays};
}

std::vector<DataKind> all_kinds() {
  return {
      {.name = "fashion-mnist",
       .usage = "fashion-mnist[:FOLDER]",
       .help = "60,000 + 10,000 grey images of clothes in 10 classes",
       .keys = {{"size", "side in pixels, 28 (default) or more: images are padded with zeros"}, {"limit", "number of samples, the first ones (default: all)"}},
       .load = load_fashion,
       .class_names = [](const DataSpec&) { return fashion_mnist_classes(); }},
      {.name = "shapes",
       .usage = "shapes",
       .help = "shapes in 10 classes, drawn by the program",
       .keys = {{"count", "number of samples (20000; test 2000)"}, {"size", "side in pixels (28)"}, {"channels", "3 for color (default), 1 for grey"},
                {"seed", "seed of all samples (1)"}},
       .load = load_shapes,
       .class_names = [](const DataSpec&) { return shape_classes(); }},
      {.name = "sines",
       .usage = "sines",
       .help = "time series (channels, length): sums of two sines in 4 classes, drawn by the program",
       .keys = {{"count", "number of samples (20000; test 2000)"}, {"length", "values per channel (64)"}, {"channels", "number of channels (1)"},
                {"seed", "seed of all samples (1)"}},
       .open = open_sines},
      {.name = "folder",
       .usage = "folder:PATH?size=N",
       .help = "a folder of images with one folder per class",
       .keys = keys_of_pictures(keys_of_labels()),
       .open = open_image_folder,
       .class_names = folder_class_names},
      {.name = "zip",
       .usage = "zip:FILE.zip?size=N",
       .help = "images in an uncompressed zip file with a dataset.json (EDM2, StyleGAN)",
       .keys = keys_of_pictures(keys_of_labels()),
       .open = open_zip},
      {.name = "tar",
       .usage = "tar:SHARDS?size=N",
       .help = "images in shards of WebDataset: data/train-{000..099}.tar",
       .keys = keys_of_pictures(keys_of_labels({{"index", "folder for the indices (default: beside each shard)"}})),
       .open = open_tar},
      {.name = "cifar10",
       .usage = "cifar10:FOLDER",
       .help = "CIFAR-10's binary files: 50,000 + 10,000 images of 32x32 in 10 classes",
       .keys = {{"limit", "number of samples, the first ones (default: all)"}},
       .load = load_cifar10,
       .class_names = cifar10_classes},
      {.name = "cifar100",
       .usage = "cifar100:FOLDER",
       .help = "CIFAR-100's binary files: 50,000 + 10,000 images of 32x32 in 100 classes",
       .keys = {{"limit", "number of samples, the first ones (default: all)"}, {"labels", "fine (default), or coarse: 20 classes"}},
       .load = load_cifar100,
       .class_names = cifar100_classes},
      array_kind(),
      {.name = "points",
       .usage = "points:8gaussians|checkerboard|spiral|moons",
       .help = "points of the plane, computed by the program",
       .keys = {{"count", "number of points (2097152; test 10000)"}, {"seed", "seed of all points (1)"}},
       .open = open_points,
       .class_names = point_class_names},
  };
}

const std::vector<DataKind>& kinds() {
  static const std::vector<DataKind> list = all_kinds();
  return list;
}

}  // namespace

std::span<const DataKind> data_kinds() { return kinds(); }

const DataKind& kind_of(const DataSpec& spec) {
  const auto kind = std::find_if(kinds().begin(), kinds().end(), [&](const DataKind& k) { return spec.name == k.name; });
  if (kind == kinds().end())
    throw ConfigError(fmt::format("data '{}': unknown data set '{}'; there are {}", spec.text, spec.name, data_usage()));
  std::vector<std::string> known;
  for (const DataKey& key : kind->keys) known.emplace_back(key.name);
  for (const auto& option : spec.options)
    if (std::find(known.begin(), known.end(), option.first) == known.end())
      throw ConfigError(fmt::format("data '{}': {} has no option '{}'; options: {}", spec.text, spec.name, option.first, fmt::join(known, ", ")));
  return *kind;
}

const std::string& data_usage() {
  static const std::string text = [] {
    std::vector<std::string> usages;
    for (const DataKind& k : kinds()) usages.emplace_back(k.usage);
    return fmt::format("{}", fmt::join(usages, ", "));
  }();
  return text;
}

const std::string& data_help() {
  static const std::string text = data_usage() + ", with options after '?' (data/README.md)";
  return text;
}

Dataset open_dataset(const std::string& text, Split split) {
  DataSpec spec = parse_data_spec(text);
  const DataKind& kind = kind_of(spec);
  if (kind.load) return kind.load(spec, split);
  if (const auto crop = spec.options.find("crop"); split == Split::train && crop != spec.options.end() && crop->second == "random")
    throw ConfigError(fmt::format("data '{}': {}", text, read_once_error));
  return load_pictures(*kind.open(spec, split));
}

std::shared_ptr<const SampleSource> open_source(const std::string& text, Split split) {
  DataSpec spec = parse_data_spec(text);
  const DataKind& kind = kind_of(spec);
  return kind.load ? as_source(std::make_shared<const Dataset>(kind.load(spec, split))) : kind.open(spec, split);
}

std::vector<std::string> class_names_of(const std::string& text) {
  const DataSpec spec = parse_data_spec(text);
  const DataKind& kind = kind_of(spec);
  return kind.class_names ? kind.class_names(spec) : open_source(text, Split::train)->class_names();
}

}  // namespace fm
