// Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, MIT license) from its IDX files. IDX: two zero bytes, the element type (8 = unsigned byte), the
// number of dimensions, each dimension as big-endian 32 bits, then the values.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "data/dataset.h"
#include "data/gzip.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr const char* debian_folder = "/usr/share/datasets/fashion-mnist";

struct Idx {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;  // the whole file
  std::size_t offset = 0;           // position of the first value
};

fs::path find_file(const fs::path& folder, const std::string& name) {
  for (const fs::path& path : {folder / (name + ".gz"), folder / name}) {
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) return path;
  }
  throw FileError(fmt::format(
      "{}: no such file; `apt-get install dataset-fashion-mnist`, or give its folder, or use `--data shapes` (built in)",
      (folder / (name + ".gz")).string()));
}

Idx read_idx(const fs::path& folder, const std::string& name, std::size_t dims) {
  const fs::path path = find_file(folder, name);
  Idx idx{{}, read_gzip(path), 4 + 4 * dims};
  const auto& b = idx.bytes;
  if (b.size() < idx.offset || b[0] != 0 || b[1] != 0 || b[2] != 8 || b[3] != dims) {
    throw FileError(fmt::format("{}: not an IDX file of unsigned bytes with {} dimensions", path.string(), dims));
  }
  std::uint64_t values = 1;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::uint8_t* p = b.data() + 4 + 4 * d;
    idx.shape.push_back(std::int64_t(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3]);
    values = std::min(values * std::uint64_t(idx.shape.back()), std::uint64_t{1} << 31);  // clipped: no overflow
  }
  if (b.size() - idx.offset != values) {
    throw FileError(fmt::format("{}: has {} values, but its header says {}: fetch the file again", path.string(), b.size() - idx.offset, values));
  }
  return idx;
}

fs::path chosen_folder(const fs::path& given) {
  if (!given.empty()) return given;
  const char* set = std::getenv("FLOWMAP_FASHION_MNIST");
  return set && *set ? fs::path(set) : fs::path(debian_folder);
}

}  // namespace

std::vector<std::string> fashion_mnist_classes() {
  return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
}

Dataset load_fashion_mnist(Split split, const fs::path& given) {
  const fs::path folder = chosen_folder(given);
  const std::string prefix = split == Split::train ? "train" : "t10k";
  Idx images = read_idx(folder, prefix + "-images-idx3-ubyte", 3);
  const Idx labels = read_idx(folder, prefix + "-labels-idx1-ubyte", 1);
  Dataset data{"fashion-mnist", images.shape[0], 1, narrow<int>(images.shape[1]), narrow<int>(images.shape[2]), {}, {}, {}};
  data.class_names = fashion_mnist_classes();
  if (labels.shape[0] != data.count) {
    throw FileError(fmt::format("{}: {} images but {} labels: fetch the files again", (folder / prefix).string(), data.count, labels.shape[0]));
  }
  images.bytes.erase(images.bytes.begin(), images.bytes.begin() + std::ptrdiff_t(images.offset));
  data.pixels = std::move(images.bytes);
  data.labels.assign(labels.bytes.begin() + std::ptrdiff_t(labels.offset), labels.bytes.end());
  const auto wrong = std::find_if(data.labels.begin(), data.labels.end(), [](std::int32_t l) { return l > 9; });
  if (wrong != data.labels.end()) throw FileError(fmt::format("{}: label {} is above 9: fetch the files again", (folder / prefix).string(), *wrong));
  return data;
}

}  // namespace fm
