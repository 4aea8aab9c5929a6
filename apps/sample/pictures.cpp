#include "apps/sample/pictures.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/cli/progress.h"
#include "data/class_names.h"
#include "data/grid.h"
#include "data/image_file.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "flowmap/training/limits.h"
#include "flowmap/training/shown_classes.h"
#include "nn/config/visit.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t grid_pictures = 100;
constexpr const char* settings_file = "samples.txt";

// "000123.png" -> 123; -1: another name.
std::int64_t number_of(const std::string& name) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end - name.data() >= 6 && std::string_view(end) == ".png" ? number : -1;
}

// Refuses a folder whose samples.txt has other settings, or that has numbered images but no samples.txt: another program may have made them.
void check_settings(const fs::path& folder, const Settings& settings) {
  const fs::path file = folder / settings_file;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(fmt::format("--pngs {}: cannot create the folder: {}", folder.string(), error.message()));
  if (!fs::exists(file)) {
    for (const fs::directory_entry& e : fs::directory_iterator(folder))
      if (number_of(e.path().filename().string()) >= 0)
        throw ConfigError(fmt::format("--pngs {}: contains {} but no {}, so another command made the images: take another folder, or move the images away",
                                      folder.string(), e.path().filename().string(), settings_file));
    return write_atomically(file, settings.line + "\n");
  }
  std::string there = read_file(file);
  while (!there.empty() && there.back() == '\n') there.pop_back();
  if (there != settings.line && std::find(settings.before.begin(), settings.before.end(), there) == settings.before.end())
    throw ConfigError(fmt::format("--pngs {} contains images of other settings ({}; requested: {}): take another folder", folder.string(),
                                  there, settings.line));
}

// Removes temporary files of killed commands for images first ... first + count - 1. Other files may belong to commands that run at the same time.
void sweep(const fs::path& folder, std::int64_t first, std::int64_t count) {
  std::vector<fs::path> left;
  for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
    const std::string name = e.path().filename().string();
    const std::size_t mark = name.find(".tmp-");
    if (mark == std::string::npos || name.find_first_not_of("0123456789", mark + 5) != std::string::npos) continue;
    const std::int64_t number = number_of(name.substr(0, mark));
    if (number >= first && number < first + count) left.push_back(e.path());
  }
  std::error_code ignored;
  for (const fs::path& file : left) fs::remove(file, ignored);
}

// The images of a command, generated or read back, in the order of their numbers.
class Pictures {
 public:
  Pictures(const Source& source, const PictureConfig& config, std::uint64_t seed, Logger& log)
      : source_(source),
        c_(config),
        seed_(seed),
        log_(log),
        labels_(labels_of(config.labels, config.first, config.count, source.classes, seed, source.class_names)) {}

  void check_memory() const {
    const double rows = static_cast<double>(std::min(batch(), c_.count));
    const std::string p = beyond_memory(rows * static_cast<double>(source_.bytes_a_sample), fmt::format("a batch of {} images", rows),
                                        "a pass of the networks", "lower --batch");
    if (!p.empty()) throw ConfigError(p);
  }

  fs::path png(std::int64_t i) const { return fs::path(c_.pngs) / fmt::format("{:06d}.png", c_.first + i); }
  // Calls take(i, image) for every sample, as soon as it is generated.
  template <class F> void draw_all(F&& take) { draw(range(0, c_.count), take); }
  // Generates the images missing from the folder and returns their number.
  std::int64_t fill_folder() {
    const std::vector<std::int64_t> wanted = missing();
    draw(wanted, [&](std::int64_t i, const Image& image) { write_png(png(i), image); });
    return static_cast<std::int64_t>(wanted.size());
  }
  // Calls take(i, image) for the first `n` images of the folder. Generates an image again if it cannot be decoded although its checksums are right.
  template <class F> void read_back(std::int64_t n, F&& take) {
    for (std::int64_t i = 0; i < n; ++i) take(i, read_or_draw(i));
  }

 private:
  static std::vector<std::int64_t> range(std::int64_t from, std::int64_t to) {
    std::vector<std::int64_t> out;
    for (std::int64_t i = from; i < to; ++i) out.push_back(i);
    return out;
  }
  std::vector<std::int64_t> missing() const {
    std::vector<std::int64_t> out;
    for (std::int64_t i = 0; i < c_.count; ++i)
      if (!is_intact_png(png(i))) out.push_back(i);
    if (const auto there = c_.count - static_cast<std::int64_t>(out.size()); there > 0)
      log_.info("{} of {} images exist already", there, c_.count);
    return out;
  }

  Image read_or_draw(std::int64_t i) {
    try {
      return read_image(png(i));
    } catch (const FileError& e) {
      log_.warning("{}; generated again", e.what());
      draw({i}, [&](std::int64_t, const Image& image) { write_png(png(i), image); });
      return read_image(png(i));
    }
  }

  std::int64_t batch() const { return batch_of(c_, source_); }

  template <class F> void draw(const std::vector<std::int64_t>& wanted, F&& take) {
    const auto n = static_cast<std::int64_t>(wanted.size()), there = c_.count - n, size = batch();
    ImageProgress progress(log_, "", c_.count);
    progress.begin(there);
    for (std::int64_t from = 0; from < n; from += size) {
      const std::int64_t rows = std::min(size, n - from);
      Samples samples;
      std::vector<std::int64_t> labels;
      for (std::int64_t k = from; k < from + rows; ++k) {
        const std::int64_t i = wanted[static_cast<std::size_t>(k)];
        samples.push_back(c_.first + i);
        labels.push_back(labels_[static_cast<std::size_t>(i)]);
      }
      const Tensor z = source_.generate(sample_noise(samples, source_.space.shape(), seed_), Tensor::from(labels, {rows}));
      refuse_not_finite(z, "latents", samples);
      const Tensor pixels = source_.space.decode(z);
      refuse_not_finite(pixels, "pixels", samples);
      const std::vector<Image> images = to_images(pixels, rounding_of(c_, source_.rounding));
      for (std::int64_t k = 0; k < rows; ++k) take(wanted[static_cast<std::size_t>(from + k)], images[static_cast<std::size_t>(k)]);
      progress.at(there + from + rows);
    }
  }

  const Source& source_;
  const PictureConfig& c_;
  std::uint64_t seed_;
  Logger& log_;
  std::vector<std::int64_t> labels_;
};

}  // namespace

Rounding rounding_of(const PictureConfig& config, Rounding own) {
  if (config.rounding == "auto") return own;
  return config.rounding == "nearest" ? Rounding::nearest : Rounding::truncate;
}

std::int64_t batch_of(const PictureConfig& config, const Source& source) { return config.batch > 0 ? config.batch : batch_for(source.bytes_a_sample); }

void prepare_file(const char* flag, const std::string& file, const std::string& ending) {
  if (file.empty()) return;
  if (!file.ends_with(ending)) throw ConfigError(fmt::format("--{} {}: the name must end in {}", flag, file, ending));
  std::error_code error;
  if (const fs::path folder = fs::path(file).parent_path(); !folder.empty()) fs::create_directories(folder, error);
  if (error) throw FileError(fmt::format("--{} {}: cannot create its folder: {}", flag, file, error.message()));
  if (fs::is_directory(file, error)) throw ConfigError(fmt::format("--{} {}: is a folder: give a file's name", flag, file));
  remove_stale_temporaries_of(file);             // left by a command that was killed: gigabytes
}

std::vector<std::int64_t> labels_of(const std::string& labels, std::int64_t first, std::int64_t count, std::int64_t classes,
                                    std::uint64_t seed, const std::vector<std::string>& names) {
  constexpr std::uint32_t label_stream = 0x534C4142;
  std::vector<std::int64_t> chosen, out;
  if (labels != "equal" && labels != "random")
    for (const std::string_view cell : csv_cells(labels)) chosen.push_back(label_named(cell, names, classes));
  for (std::int64_t i = first; i < first + count; ++i) {
    if (labels == "equal") out.push_back(i % classes);
    else if (labels == "random")
      out.push_back(below(RandomKey{seed, label_stream}.block(static_cast<std::uint64_t>(i))[0], narrow<std::uint32_t>(classes, "classes")));
    else out.push_back(chosen[static_cast<std::size_t>(i) % chosen.size()]);
  }
  return out;
}

namespace {

// Takes images in order. finish() makes the files appear.
class Outputs {
 public:
  Outputs(const PictureConfig& config, const Source& source, bool with_npz) : c_(config), source_(source), with_npz_(with_npz) {}

  void operator()(std::int64_t i, const Image& image) {
    if (i < grid_pictures && !c_.grid.empty()) shown_.push_back(image);
    if (!with_npz_) return;
    if (!npz_) npz_.emplace(c_.npz).begin("arr_0", DType::u8, {image.height, image.width, image.channels});
    npz_->append(std::span<const std::uint8_t>(image.pixels));
  }
  void finish(Logger& log) {
    if (npz_) {
      npz_->end();
      npz_->finish();
      log.info("arr_0 of {} images in {}", c_.count, c_.npz);
    }
    if (shown_.empty()) return;
    write_png(c_.grid, grid());
    log.info("grid of {} images in {}", shown_.size(), c_.grid);
  }

 private:
  // One column per class, with names, if the samples take few classes in turn; else about square.
  Image grid() const {
    const int scale = grid_scale(shown_[0].width);
    const ShownClasses classes = shown_classes(source_.classes, source_.class_names, shown_[0].width, scale);
    if (c_.labels == "equal" && c_.first % source_.classes == 0 && classes.title.empty() && std::ssize(shown_) >= source_.classes)
      return make_grid(shown_, {.columns = narrow<int>(source_.classes), .scale = scale, .column_labels = classes.names});
    const int side = narrow<int>(std::lround(std::ceil(std::sqrt(static_cast<double>(shown_.size())))));
    const bool in_turn = c_.labels == "equal" && source_.classes <= 20;
    return make_grid(shown_, {.columns = fitting_columns(in_turn ? source_.classes : side, shown_[0].width, scale), .scale = scale});
  }

  const PictureConfig& c_;
  const Source& source_;
  bool with_npz_;
  std::optional<NpzWriter> npz_;
  std::vector<Image> shown_;
};

// Whether the file contains the folder's images: as many, with the right checksum, and with equal first and last images.
bool has_pictures(const fs::path& npz, const Pictures& pictures, std::int64_t count) {
  try {
    const Tensor all = NpzReader(npz).read("arr_0");
    if (all.rank() != 4 || all.dtype() != DType::u8 || all.dim(0) != count) return false;
    const auto same = [&](std::int64_t i) {
      const Image image = read_image(pictures.png(i));
      return all.select(0, i).shape() == Shape{image.height, image.width, image.channels} &&
             all.select(0, i).to_vector<std::uint8_t>() == image.pixels;
    };
    return same(0) && same(count - 1);
  } catch (const FileError&) {                   // missing or damaged: it will be written
    return false;
  }
}

}  // namespace

void draw_pictures(const Source& source, const PictureConfig& c, std::uint64_t seed, const Settings& settings, Logger& log) {
  if (c.pngs.empty() && c.npz.empty() && c.grid.empty())
    throw ConfigError("no output is named: give --pngs FOLDER, --npz FILE or --grid FILE");
  prepare_file("grid", c.grid, ".png");
  prepare_file("npz", c.npz, ".npz");
  Pictures pictures(source, c, seed, log);
  pictures.check_memory();
  if (c.pngs.empty()) {
    Outputs outputs(c, source, !c.npz.empty());
    pictures.draw_all(outputs);
    return outputs.finish(log);
  }
  check_settings(c.pngs, settings);
  sweep(c.pngs, c.first, c.count);
  const bool done = pictures.fill_folder() == 0 && !c.npz.empty() && has_pictures(c.npz, pictures, c.count);
  if (done) log.info("{} exists already, with these images", c.npz);
  Outputs outputs(c, source, !c.npz.empty() && !done);
  pictures.read_back(c.npz.empty() || done ? std::min(c.count, c.grid.empty() ? 0 : grid_pictures) : c.count, outputs);
  outputs.finish(log);
}

}  // namespace fm
