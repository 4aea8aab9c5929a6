#include "data/array_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/array_rows.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::uint64_t max_fingerprinted = std::uint64_t(1) << 30;  // bytes that a fingerprint reads

enum class Layout { as_is, hwc, hw, lc };

Shape shape_of(const ArrayRows& rows, Layout layout) {
  Shape s;
  for (int d = 1; d < rows.shape().rank(); ++d) s.push_back(rows.shape()[d]);
  if (layout != Layout::as_is && s.rank() != (layout == Layout::hwc ? 3 : 2))
    throw ConfigError(fmt::format("{}: rows are {}; layout={}", rows.place(), to_string(s),
                                  layout == Layout::hwc ? "hwc needs [h, w, c]" : layout == Layout::hw ? "hw needs [h, w]" : "lc needs [length, channels]"));
  if (layout == Layout::hwc) return {s[2], s[0], s[1]};
  if (layout == Layout::lc) return {s[1], s[0]};
  if (layout == Layout::hw) return {1, s[0], s[1]};
  if (s.rank() == 0) s.push_back(1);  // (N) numbers: samples of one value
  return s;
}

// (h, w, c) -> (c, h, w), (l, c) -> (c, l)
template <class T>
void move_channels(const std::vector<T>& from, const Shape& to, T* out) {
  const std::int64_t channels = to[0], pixels = to.numel() / channels;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t i = 0; i < pixels; ++i) *out++ = from[std::size_t(i * channels + c)];
}

struct Labelled {
  std::shared_ptr<const ArrayRows> rows, noise;  // noise: of the same shape, or null
  std::vector<std::int64_t> labels;  // empty: none
};

std::int64_t largest_of(const std::vector<std::int64_t>& labels) { return labels.empty() ? -1 : *std::max_element(labels.begin(), labels.end()); }

class ArraySource : public SampleSource {
 public:
  ArraySource(Labelled data, Layout layout, std::vector<std::string> class_names, Split split, bool hold_out, std::int64_t limit)
      : rows_(std::move(data.rows)), noise_(std::move(data.noise)), layout_(layout), shape_(shape_of(*rows_, layout)), class_names_(std::move(class_names)) {
    labels_ = checked_labels(
        rows_->count(), class_names_.size(), rows_->place(), [&](std::int64_t i) { return data.labels.empty() ? -1 : data.labels[std::size_t(i)]; },
        [](std::int64_t i) { return fmt::format("row {}", i); });
    chosen_ = rows_of_split(labels_, class_names_.size(), split, hold_out, limit);
    if (chosen_.empty())
      throw FileError(fmt::format("{}: none of its {} rows is for {}{}", rows_->place(), rows_->count(), split == Split::train ? "training" : "the test",
                                  hold_out ? " (every tenth of a class is for the test; test= or test_x= names a test split)" : ""));
  }
  std::string name() const override { return rows_->place(); }
  std::int64_t count() const override { return std::ssize(chosen_); }
  Shape shape() const override { return shape_; }
  DType dtype() const override { return is_u8() ? DType::u8 : DType::f32; }
  std::int32_t label(std::int64_t i) const override { return labels_[std::size_t(chosen_[std::size_t(i)])]; }
  const std::vector<std::string>& class_names() const override { return class_names_; }

  void read(std::int64_t i, const PhiloxBlock&, void* out) const override {
    if (is_u8()) read_as(*rows_, i, static_cast<std::uint8_t*>(out));
    else read_as(*rows_, i, static_cast<float*>(out));
  }
  bool has_noise() const override { return noise_ != nullptr; }
  void read_noise(std::int64_t i, float* out) const override { noise_ ? read_as(*noise_, i, out) : SampleSource::read_noise(i, out); }

  // A large file is fingerprinted by the contents of some rows.
  std::optional<std::string> stamp(std::int64_t i) const override {
    const std::uint64_t every = rows_->bytes() / max_fingerprinted + 1;
    return std::uint64_t(i) % every == 0 ? std::nullopt : std::optional<std::string>("");
  }

 private:
  bool is_u8() const { return rows_->type() == FileType::u8; }

  template <class T>
  void read_as(const ArrayRows& rows, std::int64_t i, T* out) const {
    const std::int64_t row = chosen_[std::size_t(i)];
    if (layout_ == Layout::as_is || layout_ == Layout::hw) return rows.read(row, out);
    std::vector<T> values(std::size_t(rows.row_size()));
    rows.read(row, values.data());
    move_channels(values, shape_, out);
  }

  std::shared_ptr<const ArrayRows> rows_, noise_;
  Layout layout_;
  Shape shape_;
  std::vector<std::string> class_names_;
  std::vector<std::int32_t> labels_;  // labels of all rows
  std::vector<std::int64_t> chosen_;  // rows of the split
};

// Name of the array of `file` with the labels; "" if there is none.
std::string label_array(const std::string& file, const std::string& asked) {
  if (!asked.empty() || !is_npz(file)) return asked;
  const std::vector<std::string> names = array_names(file);
  for (const char* name : {"y", "labels"})
    if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  return "";
}

std::string sample_array(const std::string& file, const std::string& asked, const std::string& labels, const std::string& noise) {
  if (!asked.empty() || !is_npz(file)) return asked;
  const std::vector<std::string> names = array_names(file);
  std::vector<std::string> others;
  std::copy_if(names.begin(), names.end(), std::back_inserter(others), [&](const std::string& n) { return n != labels && n != noise; });
  if (others.size() == 1) return others.front();
  for (const char* name : {"x", "arr_0"})
    if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  throw ConfigError(fmt::format("{}: the array of the samples is not named: write ?x=NAME; the file has {}", file, fmt::join(names, ", ")));
}

Labelled opened(const std::string& file, const std::string& x, const std::string& label_file, const std::string& y, const std::string& noise) {
  const std::string in_file = label_file.empty() ? label_array(file, y) : "";
  Labelled data{std::make_shared<ArrayRows>(file, sample_array(file, x, in_file, noise)), {}, {}};
  if (label_file.empty() && in_file.empty()) return data;
  const ArrayRows labels(label_file.empty() ? file : label_file, label_file.empty() ? in_file : y);
  data.labels = labels.integers();
  if (std::ssize(data.labels) != data.rows->count())
    throw FileError(fmt::format("{}: {} labels for the {} rows of {}", labels.place(), data.labels.size(), data.rows->count(), data.rows->place()));
  for (std::size_t i = 0; i < data.labels.size(); ++i)
    if (data.labels[i] < 0) throw FileError(fmt::format("{}: row {} is {}; labels are whole numbers from 0 on", labels.place(), i, data.labels[i]));
  return data;
}

// The noise of the training split's rows.
std::shared_ptr<const ArrayRows> opened_noise(const std::string& file, const std::string& name, const ArrayRows& rows) {
  if (rows.type() == FileType::u8) throw ConfigError(fmt::format("{}: noise={} needs samples of floats, but these are u8 levels: leave it out", rows.place(), name));
  auto noise = std::make_shared<ArrayRows>(file, name);
  if (noise->shape() != rows.shape())
    throw FileError(fmt::format("{}: noise of shape {}, but the samples have shape {} ({}): the shapes must be equal", noise->place(), to_string(noise->shape()),
                                to_string(rows.shape()), rows.place()));
  return noise;
}

// The test split's arrays, if they are named.
Labelled opened_test(const ArrayOptions& o) {
  const std::string file = o.test.empty() ? o.file : o.test;
  const std::string x = o.test_x.empty() ? o.x : o.test_x, y = o.test_y.empty() && !o.test.empty() ? o.y : o.test_y;
  return opened(file, x, o.test_labels, y, o.test.empty() ? o.noise : "");
}

void refuse_other_rows(const Labelled& train, const Labelled& test) {
  if (test.rows->shape().without(0) != train.rows->shape().without(0) || test.rows->type() != train.rows->type())
    throw FileError(fmt::format("{} is {} {}, but {} is {} {}: both splits need rows of one shape and type", test.rows->place(), name_of(test.rows->type()),
                                to_string(test.rows->shape()), train.rows->place(), name_of(train.rows->type()), to_string(train.rows->shape())));
  if (test.labels.empty() != train.labels.empty())
    throw FileError(fmt::format("{} has labels and {} has none: give labels of both splits (y, test_y, labels, test_labels), or of neither", (test.labels.empty() ? train : test).rows->place(),
                                (test.labels.empty() ? test : train).rows->place()));
}

}  // namespace

std::shared_ptr<const SampleSource> array_source(const ArrayOptions& o, Split split) {
  const Layout layout = o.layout == "hwc" ? Layout::hwc : o.layout == "hw" ? Layout::hw : o.layout == "lc" ? Layout::lc : Layout::as_is;
  const bool has_test = !o.test.empty() || !o.test_x.empty();
  if (!has_test && (!o.test_y.empty() || !o.test_labels.empty()))
    throw ConfigError(fmt::format("{}: labels of a test split without its samples: give test=FILE or test_x=NAME too", o.file));
  Labelled train = opened(o.file, o.x, o.labels, o.y, o.noise);
  if (!o.noise.empty() && split == Split::train) train.noise = opened_noise(o.file, o.noise, *train.rows);
  std::vector<std::string> names = class_list(o.classes, {}, largest_of(train.labels), train.rows->place());
  if (!has_test || split == Split::train)
    return std::make_shared<ArraySource>(std::move(train), layout, std::move(names), split, !has_test, o.limit);
  Labelled test = opened_test(o);
  refuse_other_rows(train, test);
  return std::make_shared<ArraySource>(std::move(test), layout, std::move(names), split, false, o.limit);
}

std::shared_ptr<const SampleSource> open_arrays(DataSpec& spec, Split split) {
  ArrayOptions o;
  o.file = spec.needed_path("arrays:FILE.npy or arrays:FILE.npz");
  o.noise = spec.string("noise");
  o.x = spec.string("x"), o.y = spec.string("y"), o.labels = spec.string("labels");
  o.test = spec.string("test"), o.test_x = spec.string("test_x"), o.test_y = spec.string("test_y"), o.test_labels = spec.string("test_labels");
  o.layout = spec.word("layout", {"as-is", "hwc", "hw", "lc"});
  o.limit = spec.number("limit", 0, 1, std::int64_t(1) << 32);
  o.classes = class_options(spec);
  return array_source(o, split);
}

}  // namespace fm
