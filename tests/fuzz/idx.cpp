// IDX files, plain or gzip. The bytes are images, or labels if the first byte is L.
#include "data/dataset.h"
#include "tests/fuzz/fuzz.h"

namespace {

// A folder with Fashion-MNIST's two files, as links to files in memory.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("flowmap-fuzz-" + std::to_string(getpid()));
  fm::fuzz::MemoryFile images, labels;
  Folder() {
    std::filesystem::create_directory(path);
    std::filesystem::create_symlink(images.path(), path / "t10k-images-idx3-ubyte");
    std::filesystem::create_symlink(labels.path(), path / "t10k-labels-idx1-ubyte");
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

constexpr std::uint8_t good_images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6};
constexpr std::uint8_t good_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 3, 4};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  const bool labels = size > 0 && data[0] == 'L';
  if (labels) folder.images.write(good_images, sizeof good_images), folder.labels.write(data + 1, size - 1);
  else folder.images.write(data, size), folder.labels.write(good_labels, sizeof good_labels);
  return fm::fuzz::accept_errors([&] { fm::load_fashion_mnist(fm::Split::test, folder.path); });
}
