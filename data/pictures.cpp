#include "data/pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/narrow.h"
#include "tensor/parallel.h"

namespace fm {

namespace {
constexpr std::int64_t every_tenth = 10;
}

PictureOptions picture_options(DataSpec& spec, Split split, const std::string& usage) {
  spec.needed_path(usage);
  PictureOptions options;
  options.size = narrow<int>(spec.number("size", 0, 1, 4096));
  options.channels = narrow<int>(spec.number("channels", options.channels, 1, 3));
  options.limit_per_class = spec.number("limit", 0, 1, std::int64_t(1) << 32);
  options.crop = spec.word("crop", {"center", "random"}) == "center" || split == Split::test ? Crop::center : Crop::random;
  if (options.size == 0) throw ConfigError(fmt::format("data '{}': the size of the images is missing: {}", spec.text, usage));
  return options;
}

PictureSource::PictureSource(std::string name, const PictureOptions& options) : name_(std::move(name)), options_(options) {
  if (options.size < 1 || (options.channels != 1 && options.channels != 3))
    throw ConfigError(fmt::format("{}: size {}, channels {}: needs a positive size and 1 or 3 channels", name_, options.size, options.channels));
}

void PictureSource::read(std::int64_t index, const PhiloxBlock& random, void* out) const {
  const Image image = picture(index, options_.channels);
  const int size = options_.size;
  planes_from_image(options_.crop == Crop::center ? center_crop(image, size) : random_crop(image, size + size / 2, size, random),
                    static_cast<std::uint8_t*>(out));
}

Dataset load_pictures(const SampleSource& source) {
  const PictureSize size = picture_size(source, "a data set in memory");
  if (source.is_random()) throw ConfigError(fmt::format("{}: {}", source.name(), read_once_error));
  Dataset data{source.name(), source.count(), size.channels, size.height, size.width, {}, {}, source.class_names(), source.notes()};
  check_fits(source.name(), data.count, data.sample_size());
  data.pixels.resize(std::size_t(data.count * data.sample_size()));
  for (std::int64_t i = 0; i < data.count; ++i) data.labels.push_back(source.label(i));
  std::vector<std::string> problems(std::size_t(data.count));  // an exception must not leave a parallel loop
  constexpr std::int64_t block = 256;                          // images between two checks for an interrupt
  for (std::int64_t first = 0; first < data.count; first += block) {
    check_interrupt();
    const HoldInterrupts hold;
    parallel_for(std::min(block, data.count - first), 1 << 20, [&](std::int64_t k) {
      const std::int64_t i = first + k;
      try {
        source.read(i, {}, data.pixels.data() + i * data.sample_size());
      } catch (const std::exception& e) {
        problems[std::size_t(i)] = e.what();
      }
    });
  }
  std::erase(problems, std::string());
  if (problems.empty()) return data;
  const auto shown = std::min<std::size_t>(problems.size(), 10);
  throw FileError(fmt::format("{}: {} of {} images cannot be read: {}{}", source.name(), problems.size(), data.count,
                              fmt::join(problems.begin(), problems.begin() + std::ptrdiff_t(shown), "; "),
                              shown < problems.size() ? "; ..." : ""));
}

std::string ending_of(const std::string& path) {
  const std::size_t slash = path.rfind('/'), base = slash == path.npos ? 0 : slash + 1, dot = path.rfind('.');
  std::string ending = dot == path.npos || dot <= base ? "" : path.substr(dot);  // ".hidden" has no ending
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

bool is_readable_picture(const std::string& ending) {
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || (ending == ".webp" && reads_webp());
}

bool is_foreign_picture(const std::string& ending) {
  static constexpr std::string_view endings[] = {".webp", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".tif", ".tiff", ".gif",
                                                 ".bmp",  ".jfif", ".ppm",  ".pgm",  ".tga", ".dng", ".cr2", ".nef"};
  return !is_readable_picture(ending) && std::find(std::begin(endings), std::end(endings), ending) != std::end(endings);
}

const char* readable_endings() { return reads_webp() ? ".png, .jpg, .jpeg and .webp" : ".png, .jpg and .jpeg"; }

const char* webp_hint(const std::string& file) {
  return !reads_webp() && ending_of(file) == ".webp" ? ", or build with libwebp (Debian: apt-get install libwebp-dev; meson setup --wipe)" : "";
}

std::vector<std::int64_t> rows_of_split(const std::vector<std::int32_t>& labels, std::size_t classes, Split split, bool hold_out, std::int64_t limit) {
  std::vector<std::int64_t> rows, met(classes, 0), taken(classes, 0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto label = std::size_t(labels[i]);
    const bool for_test = met.at(label)++ % every_tenth == every_tenth - 1;
    if (hold_out && for_test != (split == Split::test)) continue;
    if (limit == 0 || taken[label]++ < limit) rows.push_back(std::int64_t(i));
  }
  return rows;
}

std::string first_of(const std::vector<std::string>& list, std::size_t most, const char* separator) {
  const std::size_t n = std::min(list.size(), most);
  const std::string text = fmt::format("{}", fmt::join(list.begin(), list.begin() + std::ptrdiff_t(n), separator));
  return n < list.size() ? fmt::format("{} and {} more", text, list.size() - n) : text;
}

}  // namespace fm
