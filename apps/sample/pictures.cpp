#include "apps/sample/pictures.h"

#include <algorithm>
#include <fstream>

#include "apps/support/progress.h"
#include "data/grid.h"
#include "data/image_file.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "nn/config/visit.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t grid_pictures = 100;
constexpr const char* settings_file = "samples.txt";

void check_settings(const fs::path& folder, const std::string& settings) {
  const fs::path file = folder / settings_file;
  fs::create_directories(folder);
  if (!fs::exists(file)) return write_atomically(file, settings + "\n");
  std::string there = read_file(file);
  while (!there.empty() && there.back() == '\n') there.pop_back();
  if (there != settings)
    throw ConfigError(fmt::format("--pngs {} holds other pictures ({}), not those asked for ({}): take another folder", folder.string(),
                                  there, settings));
}

// Before the work: a file that is only written at its end must have a name of its kind, and a folder.
void prepare_file(const char* flag, const std::string& file, const std::string& ending) {
  if (file.empty()) return;
  if (!file.ends_with(ending)) throw ConfigError(fmt::format("--{} {}: want a name that ends in {}", flag, file, ending));
  std::error_code error;
  if (const fs::path folder = fs::path(file).parent_path(); !folder.empty()) fs::create_directories(folder, error);
  if (error) throw FileError(fmt::format("--{} {}: cannot create its folder: {}", flag, file, error.message()));
  if (fs::is_directory(file, error)) throw ConfigError(fmt::format("--{} {}: is a folder: want a file's name", flag, file));
  remove_stale_temporaries_of(file);             // of a command that was killed: gigabytes
}

// The pictures of a command, drawn or read back, in the order of their numbers.
class Pictures {
 public:
  Pictures(const Source& source, const PictureConfig& config, std::uint64_t seed, Logger& log)
      : source_(source),
        c_(config),
        seed_(seed),
        log_(log),
        labels_(labels_of(config.labels, config.first, config.count, source.classes, seed)) {}

  fs::path png(std::int64_t i) const { return fs::path(c_.pngs) / fmt::format("{:06d}.png", c_.first + i); }
  // take(i, picture) for every sample, as they are drawn.
  template <class F> void draw_all(F&& take) { draw(range(0, c_.count), take); }
  // Draws what the folder lacks; how many that were.
  std::int64_t fill_folder() {
    const std::vector<std::int64_t> wanted = missing();
    draw(wanted, [&](std::int64_t i, const Image& image) { write_png(png(i), image); });
    return static_cast<std::int64_t>(wanted.size());
  }
  // The first `n` of the folder.
  template <class F> void read_back(std::int64_t n, F&& take) const {
    for (std::int64_t i = 0; i < n; ++i) take(i, read_image(png(i)));
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
      if (!is_complete_png(png(i))) out.push_back(i);
    if (const auto there = c_.count - static_cast<std::int64_t>(out.size()); there > 0)
      log_.info("{} of {} pictures are there", there, c_.count);
    return out;
  }

  std::int64_t batch() const { return c_.batch > 0 ? c_.batch : batch_for(source_.bytes_a_sample); }

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
      const Tensor z = source_.generate(sample_noise(samples, source_.latent, seed_), Tensor::from(labels, {rows}));
      refuse_not_finite(z, "latents", samples);
      const Tensor pixels = source_.decode(z);
      refuse_not_finite(pixels, "pixels", samples);
      const std::vector<Image> images = to_images(pixels, c_.rounding == "nearest" ? Rounding::nearest : Rounding::truncate);
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

std::vector<std::int64_t> labels_of(const std::string& labels, std::int64_t first, std::int64_t count, std::int64_t classes,
                                    std::uint64_t seed) {
  constexpr std::uint32_t label_stream = 0x534C4142;
  std::vector<std::int64_t> chosen, out;
  if (labels != "equal" && labels != "random")
    for (const std::string_view cell : csv_cells(labels)) {
      std::int64_t label = -1;
      if (!parse_integer(cell, label))
        throw ConfigError(fmt::format("labels '{}': want equal, random, or numbers such as 207,360", labels));
      if (label < 0 || label >= classes)
        throw ConfigError(fmt::format("label {}: there are {} classes, 0 to {}", label, classes, classes - 1));
      chosen.push_back(label);
    }
  for (std::int64_t i = first; i < first + count; ++i) {
    if (labels == "equal") out.push_back(i % classes);
    else if (labels == "random")
      out.push_back(below(RandomKey{seed, label_stream}.block(static_cast<std::uint64_t>(i))[0], static_cast<std::uint32_t>(classes)));
    else out.push_back(chosen[static_cast<std::size_t>(i) % chosen.size()]);
  }
  return out;
}

bool is_complete_png(const fs::path& file) {
  constexpr std::string_view signature = "\x89PNG\r\n\x1a\n", end("\0\0\0\0IEND\xae\x42\x60\x82", 12);
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in || in.tellg() < 45) return false;
  std::string head(signature.size(), '\0'), tail(end.size(), '\0');
  in.seekg(-static_cast<std::streamoff>(end.size()), std::ios::end).read(tail.data(), static_cast<std::streamsize>(tail.size()));
  in.seekg(0).read(head.data(), static_cast<std::streamsize>(head.size()));
  return in && head == signature && tail == end;
}

namespace {

// Takes pictures in order; the files appear with finish().
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
      log.info("arr_0 of {} pictures in {}", c_.count, c_.npz);
    }
    if (shown_.empty()) return;
    const bool in_turn = c_.labels == "equal" && source_.classes <= 20;
    const int columns = in_turn ? static_cast<int>(source_.classes) : 0;
    write_png(c_.grid, make_grid(shown_, {.columns = columns, .scale = shown_[0].width < 64 ? 2 : 1}));
    log.info("grid of {} pictures in {}", shown_.size(), c_.grid);
  }

 private:
  const PictureConfig& c_;
  const Source& source_;
  bool with_npz_;
  std::optional<NpzWriter> npz_;
  std::vector<Image> shown_;
};

// Whether the file holds the folder's pictures: as many, whole by its checksum, the same first and last.
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
  } catch (const FileError&) {                   // it is not there, or damaged: to be written
    return false;
  }
}

}  // namespace

void draw_pictures(const Source& source, const PictureConfig& c, std::uint64_t seed, const std::string& settings, Logger& log) {
  if (c.pngs.empty() && c.npz.empty() && c.grid.empty())
    throw ConfigError("no files are asked for: give --pngs FOLDER, --npz FILE or --grid FILE");
  prepare_file("grid", c.grid, ".png");
  prepare_file("npz", c.npz, ".npz");
  Pictures pictures(source, c, seed, log);
  if (c.pngs.empty()) {
    Outputs outputs(c, source, !c.npz.empty());
    pictures.draw_all(outputs);
    return outputs.finish(log);
  }
  check_settings(c.pngs, settings);
  const bool done = pictures.fill_folder() == 0 && !c.npz.empty() && has_pictures(c.npz, pictures, c.count);
  if (done) log.info("{} is there", c.npz);
  Outputs outputs(c, source, !c.npz.empty() && !done);
  pictures.read_back(c.npz.empty() || done ? std::min(c.count, c.grid.empty() ? 0 : grid_pictures) : c.count, outputs);
  outputs.finish(log);
}

}  // namespace fm
