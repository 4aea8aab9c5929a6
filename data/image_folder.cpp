#include "data/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "tensor/error.h"
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
  const bool file = e.is_regular_file(ignored) || (e.is_symlink(ignored) && !e.exists(ignored));   // a link to nothing is named when read
  return file && (ending == ".png" || ending == ".jpg" || ending == ".jpeg");
}

struct SplitFolder {
  fs::path path;
  bool hold_out;  // no folders for the splits: choose by file number
};

SplitFolder split_folder(const fs::path& path, Split split) {
  std::error_code ignored;
  const bool has_train = fs::is_directory(path / "train", ignored);
  const fs::path test = fs::is_directory(path / "test", ignored) ? path / "test" : path / "val";
  if (!has_train || !fs::is_directory(test, ignored)) return {path, true};
  return {split == Split::train ? path / "train" : test, false};
}

}  // namespace

ImageFolder::ImageFolder(const fs::path& path, ImageFolderOptions options, Split split) : options_(options) {
  if (options.size < 1 || (options.channels != 1 && options.channels != 3)) {
    throw ConfigError(fmt::format("image folder: size {}, channels {}: needs a positive size and 1 or 3 channels", options.size, options.channels));
  }
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) throw FileError(fmt::format("{}: no such folder", path.string()));
  const auto [root, hold_out] = split_folder(path, split);
  for (const fs::path& folder : sorted_entries(root, is_folder)) {
    const std::int32_t label = std::int32_t(class_names_.size());
    class_names_.push_back(folder.filename().string());
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

void ImageFolder::read(std::int64_t index, std::uint8_t* planes) const {
  planes_from_image(center_crop(read_image(files_[std::size_t(index)].path, options_.channels), options_.size), planes);
}

Dataset load_image_folder(const fs::path& path, const ImageFolderOptions& options, Split split) {
  const ImageFolder folder(path, options, split);
  Dataset data{path.filename().string(), folder.count(), folder.channels(), folder.height(), folder.width(), {}, {}, folder.class_names()};
  data.pixels.resize(std::size_t(data.count * data.sample_size()));
  for (const ImageFile& file : folder.files()) data.labels.push_back(file.label);
  std::vector<std::string> problems(folder.files().size());  // an exception must not leave a parallel loop
  parallel_for(data.count, 1 << 20, [&](std::int64_t i) {
    try {
      folder.read(i, data.pixels.data() + i * data.sample_size());
    } catch (const std::exception& e) {
      problems[std::size_t(i)] = e.what();
    }
  });
  std::erase(problems, std::string());
  if (problems.empty()) return data;
  const auto shown = std::min<std::size_t>(problems.size(), 10);
  throw FileError(fmt::format("{}: {} of {} pictures cannot be read: {}{}", path.string(), problems.size(), data.count,
                              fmt::join(problems.begin(), problems.begin() + std::ptrdiff_t(shown), "; "), shown < problems.size() ? "; ..." : ""));
}

}  // namespace fm
