#include "data/cifar.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "data/class_names.h"
#include "data/read_at.h"
#include "tensor/error.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr int side = 32, channels = 3;
constexpr std::int64_t pixels = channels * side * side, most = 60000;

struct BinaryLayout {
  std::string data, archive, folder, usage;      // "cifar10", its archive, the folder in it, and the usage text
  std::vector<std::string> files;                // the files of a split, in the order of their samples
  std::int64_t records = 0;                      // number of records in each file
  std::int64_t label_bytes = 1, label = 0;       // label bytes of a record, and the index of the label among them
  std::string names;                             // the file of class names
  std::int64_t classes = 0;

  std::int64_t record() const { return label_bytes + pixels; }
};

BinaryLayout cifar10(Split split) {
  const std::vector<std::string> train{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  return {.data = "cifar10", .archive = "cifar-10-binary.tar.gz", .folder = "cifar-10-batches-bin", .usage = "cifar10:FOLDER",
          .files = split == Split::train ? train : std::vector<std::string>{"test_batch.bin"}, .records = 10000,
          .names = "batches.meta.txt", .classes = 10};
}

BinaryLayout cifar100(Split split, const std::string& labels) {
  const bool fine = labels == "fine", train = split == Split::train;
  return {.data = "cifar100", .archive = "cifar-100-binary.tar.gz", .folder = "cifar-100-binary", .usage = "cifar100:FOLDER",
          .files = {train ? "train.bin" : "test.bin"}, .records = train ? 50000 : 10000, .label_bytes = 2, .label = fine ? 1 : 0,
          .names = labels + "_label_names.txt", .classes = fine ? 100 : 20};
}

// The path of a file of the data set. FileError if it does not exist.
fs::path found(const BinaryLayout& layout, const fs::path& folder, const std::string& name) {
  const fs::path path = folder / name;
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return path;
  const std::string pickled = name.substr(0, name.rfind('.'));
  const bool python = name.ends_with(".bin") && fs::is_regular_file(folder / pickled, ignored);
  throw FileError(fmt::format("{}: no such file{}; unpack {} and give its folder: {}:PATH/{}", path.string(),
                              python ? fmt::format(", but {} of the version for Python exists", pickled) : "", layout.archive, layout.data, layout.folder));
}

std::vector<std::string> names_of(const BinaryLayout& layout, const fs::path& folder) {
  return read_class_names(found(layout, folder, layout.names).string(), layout.classes);
}

void add_file(Dataset& data, const BinaryLayout& layout, const fs::path& path, std::int64_t records) {
  const OpenFile file(path);
  const std::int64_t wanted = layout.records * layout.record();
  if (file.size() != static_cast<std::uint64_t>(wanted))
    throw FileError(fmt::format("{}: {} bytes, but {} records of {} bytes are {}: unpack {} again", path.string(), file.size(), layout.records,
                                layout.record(), wanted, layout.archive));
  const std::string bytes = file.read(0, static_cast<std::uint64_t>(records * layout.record()));
  for (std::int64_t i = 0; i < records; ++i) {
    const auto* record = reinterpret_cast<const std::uint8_t*>(bytes.data()) + i * layout.record();
    const std::int32_t label = record[layout.label];
    if (label >= layout.classes)
      throw FileError(fmt::format("{}: record {} has label {}, but there are {} classes: unpack {} again", path.string(), i, label, layout.classes,
                                  layout.archive));
    data.labels.push_back(label);
    data.pixels.insert(data.pixels.end(), record + layout.label_bytes, record + layout.record());
  }
}

Dataset load(DataSpec& spec, const BinaryLayout& layout) {
  const std::int64_t limit = spec.number("limit", most, 1, most);
  const fs::path folder = spec.needed_path(layout.usage);
  Dataset data{layout.data, 0, channels, side, side, {}, {}, names_of(layout, folder)};
  data.count = std::min<std::int64_t>(limit, std::ssize(layout.files) * layout.records);
  data.pixels.reserve(static_cast<std::size_t>(data.count * pixels));
  for (const std::string& name : layout.files)
    if (const std::int64_t left = data.count - std::ssize(data.labels); left > 0)
      add_file(data, layout, found(layout, folder, name), std::min(left, layout.records));
  return data;
}

BinaryLayout cifar100_of(DataSpec& spec, Split split) { return cifar100(split, spec.word("labels", {"fine", "coarse"})); }

}  // namespace

Dataset load_cifar10(DataSpec& spec, Split split) { return load(spec, cifar10(split)); }
Dataset load_cifar100(DataSpec& spec, Split split) {
  const BinaryLayout layout = cifar100_of(spec, split);
  return load(spec, layout);
}

std::vector<std::string> cifar10_classes(const DataSpec& spec) {
  const BinaryLayout layout = cifar10(Split::train);
  return names_of(layout, spec.needed_path(layout.usage));
}
std::vector<std::string> cifar100_classes(const DataSpec& spec) {
  DataSpec taken = spec;
  const BinaryLayout layout = cifar100_of(taken, Split::train);
  return names_of(layout, spec.needed_path(layout.usage));
}

}  // namespace fm
