#include "data/stored_latents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "data/array_rows.h"
#include "data/dataset_json.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

void check_shape(const Shape& shape, const std::string& place) {
  if (shape.rank() == 3 && shape[0] % 2 == 0 && shape.numel() > 0) return;
  throw FileError(fmt::format("{}: values of the shape {}: give mean and deviation of latents, of the shape (2C, height, width)", place, to_string(shape)));
}

class FolderOfLatents : public StoredLatents {
 public:
  explicit FolderOfLatents(const fs::path& folder) : folder_(folder) {
    std::error_code error;
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->path().extension() == ".npy" && it->path().filename().string().front() != '.') names_.push_back(it->path().lexically_relative(folder).generic_string());
    if (error) throw FileError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
    if (names_.empty()) throw FileError(fmt::format("{}: no .npy files beside dataset.json", folder.string()));
    std::sort(names_.begin(), names_.end());
    const fs::path json = folder / "dataset.json";
    const NamedLabels named = read_dataset_json(read_file(json), json.string(), std::ssize(names_), [this](std::int64_t i) { return std::string_view(names_[std::size_t(i)]); });
    if (named.labels.empty() || named.labels.front() < 0) throw FileError(fmt::format("{}: no labels, which the training of a generator needs", json.string()));
    labels_.assign(named.labels.begin(), named.labels.end());
    class_names_ = named.class_names;
    shape_ = ArrayRows(place(0), "").shape();
    check_shape(shape_, place(0));
  }

 protected:
  std::string place(std::int64_t index) const override { return (folder_ / names_[std::size_t(index)]).string(); }
  void read_values(std::int64_t index, float* out) const override {
    const ArrayRows channels(place(index), "");
    if (channels.shape() != shape_)
      throw FileError(fmt::format("{}: values of the shape {}, but {} has {}", place(index), to_string(channels.shape()), place(0), to_string(shape_)));
    for (std::int64_t c = 0; c < channels.count(); ++c) channels.read(c, out + c * channels.row_size());
  }

 private:
  fs::path folder_;
  std::vector<std::string> names_;                                  // relative, with '/'
};

class ArrayOfLatents : public StoredLatents {
 public:
  explicit ArrayOfLatents(const std::string& file) : rows_(file, chosen(file, {"moments", "x"}, "latents")) {
    const ArrayRows labels(file, chosen(file, {"y", "labels"}, "labels"));
    labels_ = labels.integers();
    if (std::ssize(labels_) != rows_.count())
      throw FileError(fmt::format("{}: {} latents, but {} labels in {}", file, rows_.count(), labels_.size(), labels.place()));
    shape_ = rows_.shape().without(0);
    check_shape(shape_, rows_.place());
  }

 protected:
  std::string place(std::int64_t index) const override { return fmt::format("{}, row {}", rows_.place(), index); }
  void read_values(std::int64_t index, float* out) const override { rows_.read(index, out); }

 private:
  // The first of these names that the file has.
  static std::string chosen(const std::string& file, const std::vector<std::string>& wanted, const char* what) {
    const std::vector<std::string> names = array_names(file);
    for (const std::string& name : wanted)
      if (std::find(names.begin(), names.end(), name) != names.end()) return name;
    throw FileError(fmt::format("{}: no array {} for the {}: save it under one of these names with numpy.savez", file, fmt::join(wanted, " or "), what));
  }

  ArrayRows rows_;
};

}  // namespace

void StoredLatents::read(std::int64_t index, SecondHalf second, float* out) const {
  read_values(index, out);
  const std::int64_t half = shape_.numel() / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    float& spread = out[half + i];
    if (second == SecondHalf::log_variance) spread = std::exp(std::clamp(spread, -30.0f, 20.0f) / 2);
    else if (!(spread > 0))
      throw FileError(fmt::format("{}: a deviation is {:g}, and deviations are positive: the second half of the channels has log-variances; set "
                                  "latents.given_form = \"log_variance\"", place(index), spread));
  }
}

void StoredLatents::check_form(SecondHalf second) const {
  constexpr std::int64_t most = 16;
  if (second == SecondHalf::deviation || count() == 0) return;
  const std::int64_t looked_at = std::min(most, count());
  std::vector<float> values(static_cast<std::size_t>(shape_.numel()));
  for (std::int64_t i = 0; i < looked_at; ++i) {
    read_values(i, values.data());
    if (std::any_of(values.begin() + shape_.numel() / 2, values.end(), [](float x) { return x < 0; })) return;
  }
  throw FileError(fmt::format("{}: no negative number in the second half of the channels of the first {} latents, so it has deviations, not log-variances: set "
                              "latents.given_form = \"deviation\" (log-variances that are never negative must be stored as deviations)", place(0), looked_at));
}

std::unique_ptr<const StoredLatents> open_stored_latents(const fs::path& where) {
  std::error_code ignored;
  if (fs::is_regular_file(where / "dataset.json", ignored)) return std::make_unique<FolderOfLatents>(where);
  if (fs::is_regular_file(where, ignored) && is_npz(where.string())) return std::make_unique<ArrayOfLatents>(where.string());
  throw FileError(fmt::format("{}: neither a folder with dataset.json and .npy files, nor an .npz file: these are the two forms of stored latents that can be read", where.string()));
}

}  // namespace fm
