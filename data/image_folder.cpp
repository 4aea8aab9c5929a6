#include "data/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/narrow.h"
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

// ".jpg" of "a/B.JPG".
std::string ending_of(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

bool is_picture(const fs::directory_entry& e) {
  const std::string ending = ending_of(e.path());
  std::error_code ignored;
  const bool file = e.is_regular_file(ignored) || (e.is_symlink(ignored) && !e.exists(ignored));  // a link to nothing is named when read
  return file && (ending == ".png" || ending == ".jpg" || ending == ".jpeg");
}

// Pictures of formats that are not read here.
bool is_foreign_picture(const std::string& ending) {
  static constexpr std::string_view endings[] = {".webp", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".tif", ".tiff", ".gif",
                                                 ".bmp",  ".jfif", ".ppm",  ".pgm",  ".tga", ".dng", ".cr2", ".nef"};
  return std::find(std::begin(endings), std::end(endings), ending) != std::end(endings);
}

// What a class folder holds.
struct Contents {
  std::vector<fs::path> pictures;
  std::map<std::string, std::int64_t> passed_over;  // by ending; folders as "/"
  bool foreign = false;                             // pictures of other formats among them

  std::string others() const {
    std::vector<std::string> parts;
    for (const auto& [ending, n] : passed_over)
      parts.push_back(ending == "/" ? fmt::format("{} folder{}", n, n == 1 ? "" : "s")
                                    : fmt::format("{} {}", n, ending.empty() ? "without an ending" : ending));
    return fmt::format("{}", fmt::join(parts, ", "));
  }
};

Contents contents_of(const fs::path& folder) {
  Contents c;
  const auto keep = [&](const fs::directory_entry& e) {
    if (is_picture(e)) return true;
    const std::string name = e.path().filename().string(), ending = is_folder(e) ? "/" : ending_of(e.path());
    if (name == "Thumbs.db" || name == "desktop.ini") return false;
    ++c.passed_over[ending];
    c.foreign = c.foreign || is_foreign_picture(ending);
    return false;
  };
  c.pictures = sorted_entries(folder, keep);
  return c;
}

bool has_picture(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator(); it.increment(error))
    if (it->path().filename().string().front() != '.' && is_picture(*it)) return true;
  if (error) throw FileError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  return false;
}

// "a, b, c and 12 more".
std::string first_of(const std::vector<std::string>& list, std::size_t most, const char* separator = ", ") {
  const std::size_t n = std::min(list.size(), most);
  const std::string text = fmt::format("{}", fmt::join(list.begin(), list.begin() + std::ptrdiff_t(n), separator));
  return n < list.size() ? fmt::format("{} and {} more", text, list.size() - n) : text;
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

// The folders with pictures. FileError names those whose pictures are all of formats that are not read.
std::vector<std::string> classes_in(const fs::path& folder) {
  std::vector<std::string> names, unreadable;
  for (const fs::path& sub : sorted_entries(folder, is_folder)) {
    const std::string name = sub.filename().string();
    if (has_picture(sub)) {
      names.push_back(name);
    } else if (const Contents c = contents_of(sub); c.foreign) {
      unreadable.push_back(fmt::format("{} ({})", name, c.others()));
    }
  }
  if (!unreadable.empty())
    throw FileError(fmt::format("{}: no picture can be read of {}: convert them to .png or .jpg, or move the folder away to leave the class out",
                                folder.string(), first_of(unreadable, 5)));
  return names;
}

std::int32_t label_of(const fs::path& folder, const std::vector<std::string>& class_names, const fs::path& classes) {
  const std::string name = folder.filename().string();
  const auto found = std::lower_bound(class_names.begin(), class_names.end(), name);
  if (found == class_names.end() || *found != name)
    throw FileError(
        fmt::format("{}: no class of the training split: {} has no folder of that name with pictures", folder.string(), classes.string()));
  return narrow<std::int32_t>(found - class_names.begin());
}

// What was met on the way, for notes().
struct Findings {
  std::vector<std::string> empty, passed_over;
  std::vector<bool> met;  // classes with pictures in this split

  std::vector<std::string> notes(const fs::path& root, const std::vector<std::string>& class_names, std::size_t pictures) const {
    std::vector<std::string> out;
    if (!empty.empty())
      out.push_back(fmt::format("{}: left out, for they hold no pictures: {}; {} classes and {} pictures remain", root.string(),
                                first_of(empty, 5), class_names.size(), pictures));
    if (!passed_over.empty())
      out.push_back(fmt::format("{}: only .png, .jpg and .jpeg are read; passed over: {}", root.string(), first_of(passed_over, 5, "; ")));
    const auto beside = std::ssize(sorted_entries(root, is_picture));
    if (beside > 0)
      out.push_back(fmt::format("{}: {} picture{} beside the folders of the classes: in no class, passed over", root.string(), beside,
                                beside == 1 ? " lies" : "s lie"));
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < met.size(); ++i)
      if (!met[i]) missing.push_back(class_names[i]);
    if (!missing.empty() && missing.size() < met.size())
      out.push_back(fmt::format("{}: no pictures of {} of {} classes: {}", root.string(), missing.size(), met.size(), first_of(missing, 5)));
    return out;
  }
};

}  // namespace

ImageFolder::ImageFolder(const fs::path& path, ImageFolderOptions options, Split split) : name_(path.string()), options_(options) {
  if (options.size < 1 || (options.channels != 1 && options.channels != 3)) {
    throw ConfigError(
        fmt::format("image folder: size {}, channels {}: needs a positive size and 1 or 3 channels", options.size, options.channels));
  }
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) throw FileError(fmt::format("{}: no such folder", path.string()));
  const auto [root, classes, hold_out] = split_folder(path, split);
  class_names_ = classes_in(classes);
  Findings findings{{}, {}, std::vector<bool>(class_names_.size())};
  for (const fs::path& folder : sorted_entries(root, is_folder)) {
    Contents contents = contents_of(folder);
    if (contents.pictures.empty() && !contents.foreign) {
      findings.empty.push_back(folder.filename().string() + (contents.passed_over.empty() ? "" : " (" + contents.others() + ")"));
      continue;
    }
    const std::int32_t label = label_of(folder, class_names_, classes);
    if (!contents.passed_over.empty()) findings.passed_over.push_back(folder.filename().string() + " " + contents.others());
    std::int64_t number = 0, taken = 0;
    for (fs::path& file : contents.pictures) {
      const bool for_test = number++ % test_every == test_every - 1;
      if (hold_out && for_test != (split == Split::test)) continue;
      if (options.limit_per_class > 0 && taken++ >= options.limit_per_class) break;
      files_.push_back({std::move(file), label});
      findings.met[std::size_t(label)] = true;
    }
  }
  if (files_.empty()) {
    throw FileError(fmt::format("{}: no pictures for {}: it needs one folder per class with .png, .jpg or .jpeg files{}", root.string(),
                                split == Split::train ? "training" : "the test", hold_out ? " (every tenth of a class is for the test; folders train/ and test/ are splits of your own)" : ""));
  }
  notes_ = findings.notes(root, class_names_, files_.size());
}

void ImageFolder::read(std::int64_t index, const PhiloxBlock& random, void* out) const {
  const Image image = read_image(files_[std::size_t(index)].path, options_.channels);
  const int size = options_.size;
  planes_from_image(options_.crop == Crop::center ? center_crop(image, size) : random_crop(image, size + size / 2, size, random),
                    static_cast<std::uint8_t*>(out));
}

std::optional<std::string> ImageFolder::stamp(std::int64_t index) const {
  const fs::path& file = files_[std::size_t(index)].path;
  std::error_code error;
  return fmt::format("{} {} ", file.filename().string(), fs::file_size(file, error));
}

std::vector<std::string> image_folder_classes(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) throw FileError(fmt::format("{}: no such folder", path.string()));
  return classes_in(split_folder(path, Split::train).classes);
}

Dataset load_image_folder(const fs::path& path, const ImageFolderOptions& options, Split split) {
  if (options.crop != Crop::center)
    throw ConfigError(fmt::format("{}: crop=random draws anew each epoch, but here pictures are read once: leave it out", path.string()));
  const ImageFolder folder(path, options, split);
  Dataset data{path.filename().string(), folder.count(), options.channels, options.size, options.size, {}, {},
               folder.class_names(), folder.notes()};
  check_fits(path.string(), data.count, data.sample_size());
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
