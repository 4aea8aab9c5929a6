#include "data/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "data/image_file.h"
#include "data/json_folder.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t test_every = 10;

// Entries of a folder that `keep` accepts, sorted by bytes, not by locale, so that the order is the same on every machine.
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
  std::error_code ignored;
  const bool file = e.is_regular_file(ignored) || (e.is_symlink(ignored) && !e.exists(ignored));  // a dangling link counts: the error when it is read names it
  return file && is_readable_picture(ending_of(e.path()));
}

// The contents of a class folder.
struct Contents {
  std::vector<fs::path> pictures;
  std::map<std::string, std::int64_t> passed_over;  // by ending; folders as "/"
  bool foreign = false;                             // includes images of other formats

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

struct SplitFolder {
  fs::path path, classes;  // the folder of the split's images, and the folder whose subfolders number the classes
  bool hold_out;           // no folders for the splits: choose by file number
};

// A separate test split may lack classes, so the training split numbers them for both.
SplitFolder split_folder(const fs::path& path, Split split) {
  std::error_code ignored;
  const fs::path train = path / "train";
  if (!fs::is_directory(train, ignored)) return {path, path, true};
  if (split == Split::train) return {train, train, false};
  for (const char* name : {"test", "val"})
    if (fs::is_directory(path / name, ignored)) return {path / name, train, false};
  throw FileError(fmt::format("{}: there is train/ but neither test/ nor val/: add one with images for the test", path.string()));
}

// The folders with images. FileError names folders whose images all have unsupported formats.
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
    throw FileError(fmt::format("{}: no image of {} can be read: convert them to .png or .jpg, or move the folder away to leave the class out",
                                folder.string(), first_of(unreadable, 5)));
  return names;
}

std::int32_t label_of(const fs::path& folder, const std::vector<std::string>& class_names, const fs::path& classes) {
  const std::string name = folder.filename().string();
  const auto found = std::lower_bound(class_names.begin(), class_names.end(), name);
  if (found == class_names.end() || *found != name)
    throw FileError(
        fmt::format("{}: not a class of the training split, because {} has no folder of this name with images: rename the folder, move it away, or add training images", folder.string(), classes.string()));
  return narrow<std::int32_t>(found - class_names.begin());
}

// Findings during the search, for notes().
struct Findings {
  std::vector<std::string> empty, passed_over;
  std::vector<bool> met;  // classes with images in this split

  std::vector<std::string> notes(const fs::path& root, const std::vector<std::string>& class_names, std::size_t pictures) const {
    std::vector<std::string> out;
    if (!empty.empty())
      out.push_back(fmt::format("{}: folders without images are left out: {}; {} classes and {} images remain", root.string(),
                                first_of(empty, 5), class_names.size(), pictures));
    if (!passed_over.empty())
      out.push_back(fmt::format("{}: only {} are read; skipped: {}", root.string(), readable_endings(), first_of(passed_over, 5, "; ")));
    const auto beside = std::ssize(sorted_entries(root, is_picture));
    if (beside > 0)
      out.push_back(fmt::format("{}: {} image{} outside the class folders: skipped", root.string(), beside,
                                beside == 1 ? "" : "s"));
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < met.size(); ++i)
      if (!met[i]) missing.push_back(class_names[i]);
    if (!missing.empty() && missing.size() < met.size())
      out.push_back(fmt::format("{}: no images of {} of {} classes: {}", root.string(), missing.size(), met.size(), first_of(missing, 5)));
    return out;
  }
};

}  // namespace

ImageFolder::ImageFolder(const fs::path& path, const PictureOptions& options, Split split) : PictureSource(path.string(), options) {
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
    throw FileError(fmt::format("{}: no images for {}: it needs one folder per class with files of {}{}", root.string(),
                                split == Split::train ? "training" : "the test", readable_endings(),
                                hold_out ? " (every tenth of a class is for the test; folders train/ and test/ would be splits of your own)" : ""));
  }
  notes_ = findings.notes(root, class_names_, files_.size());
}

Image ImageFolder::picture(std::int64_t index, int channels) const { return read_image(files_[std::size_t(index)].path, channels); }

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

Dataset load_image_folder(const fs::path& path, const PictureOptions& options, Split split) {
  return load_pictures(ImageFolder(path, options, split));
}

std::vector<std::string> folder_class_names(const DataSpec& spec) {
  const fs::path root = spec.needed_path("folder:PATH?size=N");
  if (has_dataset_json(root) || has_dataset_json(root / "train")) return open_source(spec.text, Split::train)->class_names();
  return image_folder_classes(root);
}

std::shared_ptr<const SampleSource> open_image_folder(DataSpec& spec, Split split) {
  constexpr const char* usage = "folder:PATH?size=N";
  const fs::path root = spec.needed_path(usage);
  const fs::path train = has_dataset_json(root / "train") ? root / "train" : root;
  if (has_dataset_json(train)) {
    const bool own = train != root && !spec.options.contains("test");
    if (own) spec.options["test"] = split_folder(root, Split::test).path.string();
    spec.path = train.string();
    return open_stored(spec, split, usage, [](const std::string& path) { return json_folder_store(path); });
  }
  const PictureOptions options = picture_options(spec, split, usage);
  for (const char* key : {"test", "classes", "class_names"})
    if (spec.options.contains(key))
      throw ConfigError(fmt::format("data '{}': {} is for folders with a dataset.json; here the folders' names are the classes, and train/ and "
                                    "test/ the splits", spec.text, key));
  return std::make_shared<ImageFolder>(root, options, split);
}

}  // namespace fm
