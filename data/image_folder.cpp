#include "data/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t test_every = 10;

// Entries of a folder that `keep` wants, sorted by bytes (not by locale, so every machine agrees).
template <class Keep>
std::vector<fs::path> sorted_entries(const fs::path& folder, const Keep& keep) {
  std::error_code error;
  std::vector<fs::path> entries;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (it->path().filename().string().front() != '.' && keep(*it)) entries.push_back(it->path());
  }
  if (error) throw FileError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  std::sort(entries.begin(), entries.end(), [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return entries;
}

bool is_folder(const fs::directory_entry& e) { return e.is_directory(); }

bool is_picture(const fs::directory_entry& e) {
  std::string ending = e.path().extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  std::error_code ignored;
  const bool file = e.is_regular_file(ignored) || (e.is_symlink(ignored) && !e.exists(ignored));  // a link to nothing is named when read
  return file && (ending == ".png" || ending == ".jpg" || ending == ".jpeg");
}

struct SplitFolder {
  fs::path path, classes;  // where the split's pictures are, and the folder whose sub-folders number the classes
  bool hold_out;           // no folders for the splits: choose by file number
};

// A split of its own for the test may lack classes, so the training split numbers them for both.
SplitFolder split_folder(const fs::path& path, Split split) {
  std::error_code ignored;
  const fs::path train = path / "train";
  if (!fs::is_directory(train, ignored)) return {path, path, true};
  if (split == Split::train) return {train, train, false};
  for (const char* name : {"test", "val"})
    if (fs::is_directory(path / name, ignored)) return {path / name, train, false};
  throw FileError(fmt::format("{}: there is train/ but neither test/ nor val/: add one with pictures for the test", path.string()));
}

std::vector<std::string> names_of_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& sub : sorted_entries(folder, is_folder)) names.push_back(sub.filename().string());
  return names;
}

std::int32_t label_of(const fs::path& folder, const std::vector<std::string>& class_names, const fs::path& classes) {
  const std::string name = folder.filename().string();
  const auto found = std::lower_bound(class_names.begin(), class_names.end(), name);
  if (found == class_names.end() || *found != name)
    throw FileError(fmt::format("{}: no class of the training split: {} has no folder of that name", folder.string(), classes.string()));
  return std::int32_t(found - class_names.begin());
}

}  // namespace

ImageFolder::ImageFolder(const fs::path& path, ImageFolderOptions options, Split split) : options_(options) {
  if (options.size < 1 || (options.channels != 1 && options.channels != 3)) {
    throw ConfigError(
        fmt::format("image folder: size {}, channels {}: needs a positive size and 1 or 3 channels", options.size, options.channels));
  }
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) throw FileError(fmt::format("{}: no such folder", path.string()));
  const auto [root, classes, hold_out] = split_folder(path, split);
  class_names_ = names_of_folders(classes);
  for (const fs::path& folder : sorted_entries(root, is_folder)) {
    const std::int32_t label = label_of(folder, class_names_, classes);
    std::int64_t number = 0, taken = 0;
    for (fs::path& file : sorted_entries(folder, is_picture)) {
      const bool for_test = number++ % test_every == test_every - 1;
      if (hold_out && for_test != (split == Split::test)) continue;
      if (options.limit_per_class > 0 && taken++ >= options.limit_per_class) break;
      files_.push_back({std::move(file), label});
    }
  }
  if (files_.empty()) {
    throw FileError(fmt::format("{}: no pictures for {}: it needs one folder per class with .png, .jpg or .jpeg files{}", root.string(),
                                split == Split::train ? "training" : "the test", hold_out ? " (every tenth is for the test)" : ""));
  }
}

void ImageFolder::read(std::int64_t index, const PhiloxBlock& random, std::uint8_t* planes) const {
  const Image image = read_image(files_[std::size_t(index)].path, options_.channels);
  const int size = options_.size;
  planes_from_image(options_.crop == Crop::center ? center_crop(image, size) : random_crop(image, size + size / 2, size, random), planes);
}

Dataset load_image_folder(const fs::path& path, const ImageFolderOptions& options, Split split) {
  if (options.crop != Crop::center)
    throw ConfigError(fmt::format("{}: crop=random draws anew each epoch, but here pictures are read once: leave it out", path.string()));
  const ImageFolder folder(path, options, split);
  Dataset data{path.filename().string(), folder.count(), folder.channels(), folder.height(), folder.width(), {}, {}, folder.class_names()};
  data.pixels.resize(std::size_t(data.count * data.sample_size()));
  for (const ImageFile& file : folder.files()) data.labels.push_back(file.label);
  std::vector<std::string> problems(folder.files().size());  // an exception must not leave a parallel loop
  constexpr std::int64_t block = 256;                         // pictures between two looks at what may end this
  for (std::int64_t first = 0; first < data.count; first += block) {
    check_interrupt();
    const HoldInterrupts hold;
    parallel_for(std::min(block, data.count - first), 1 << 20, [&](std::int64_t k) {
      const std::int64_t i = first + k;
      try {
        folder.read(i, {}, data.pixels.data() + i * data.sample_size());
      } catch (const std::exception& e) {
        problems[std::size_t(i)] = e.what();
      }
    });
  }
  std::erase(problems, std::string());
  if (problems.empty()) return data;
  const auto shown = std::min<std::size_t>(problems.size(), 10);
  throw FileError(fmt::format("{}: {} of {} pictures cannot be read: {}{}", path.string(), problems.size(), data.count,
                              fmt::join(problems.begin(), problems.begin() + std::ptrdiff_t(shown), "; "),
                              shown < problems.size() ? "; ..." : ""));
}

}  // namespace fm
