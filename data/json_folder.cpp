#include "data/json_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/dataset_json.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

class JsonFolder : public PictureStore {
 public:
  explicit JsonFolder(const fs::path& folder) : folder_(folder) {
    list();
    std::sort(names_.begin(), names_.end());
    const fs::path json = folder / "dataset.json";
    labels_ = read_dataset_json(read_file(json), json.string(), count(), [this](std::int64_t i) { return std::string_view(names_[std::size_t(i)]); });
  }
  std::string name() const override { return folder_.string(); }
  std::int64_t count() const override { return std::ssize(names_); }
  std::int32_t label(std::int64_t i) const override { return labels_.labels[std::size_t(i)]; }
  std::string member(std::int64_t i) const override { return file(i).string(); }
  std::string bytes(std::int64_t i) const override { return read_file(file(i)); }
  std::string stamp(std::int64_t i) const override {
    std::error_code error;
    return fmt::format("{} {} ", names_[std::size_t(i)], fs::file_size(file(i), error));
  }
  std::vector<std::string> class_names() const override { return labels_.class_names; }
  std::vector<std::string> notes() const override { return labels_.notes; }

 private:
  fs::path file(std::int64_t i) const { return folder_ / names_[std::size_t(i)]; }

  void list() {
    std::error_code error;
    std::int64_t foreign = 0;
    std::string first;
    for (fs::recursive_directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
      const std::string base = it->path().filename().string(), ending = ending_of(base);
      if (base.front() == '.') {
        it.disable_recursion_pending();
        continue;
      }
      std::error_code ignored;
      if (it->is_directory(ignored)) continue;
      if (is_readable_picture(ending)) names_.push_back(it->path().lexically_relative(folder_).generic_string());
      else if (is_foreign_picture(ending) && foreign++ == 0) first = it->path().string();
    }
    if (error) throw FileError(fmt::format("{}: cannot list the folder: {}", folder_.string(), error.message()));
    if (foreign > 0)
      throw FileError(fmt::format("{}: {} images are of formats that this build does not read, the first is {}; {} are read: convert them{}",
                                  folder_.string(), foreign, first, readable_endings(), webp_hint(first)));
    if (names_.empty()) throw FileError(fmt::format("{}: no images beside dataset.json: files of {} are read", folder_.string(), readable_endings()));
  }

  fs::path folder_;
  std::vector<std::string> names_;  // relative, with '/'
  NamedLabels labels_;
};

}  // namespace

bool has_dataset_json(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "dataset.json", ignored);
}

std::shared_ptr<const PictureStore> json_folder_store(const fs::path& folder) { return std::make_shared<JsonFolder>(folder); }

}  // namespace fm
