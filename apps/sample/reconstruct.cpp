#include "apps/sample/reconstruct.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/grid.h"
#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "flowmap/training/chain/spaces.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/narrow.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

// (1, channels, size, size) in [0, 1]
Tensor as_tensor(const Image& image) {
  const Tensor planes = Tensor::empty({1, image.channels, image.height, image.width}, DType::u8, Device{});
  planes_from_image(image, planes.data<std::uint8_t>());
  return (planes.to(DType::f32) * (1.0 / 255)).to(default_device());
}

std::vector<fs::path> split_files(const std::string& files) {
  std::vector<fs::path> out;
  for (const std::string_view file : csv_cells(files)) out.emplace_back(file);
  return out;
}

// The file for each reconstruction. ConfigError if two images have one name, or if a file would replace its own image.
std::vector<fs::path> png_names(const fs::path& folder, const std::vector<fs::path>& files) {
  std::vector<fs::path> out;
  for (const fs::path& file : files) {
    out.push_back(folder / file.filename().replace_extension(".png"));
    std::error_code ignored;
    if (folder.empty()) continue;
    if (std::count(out.begin(), out.end(), out.back()) > 1)
      throw ConfigError(fmt::format("--reconstruct {}: two files would become {}: give them one by one", file.string(),
                                    out.back().string()));
    if (fs::equivalent(file, out.back(), ignored))
      throw ConfigError(fmt::format("--pngs {}: {} is in this folder and would be replaced: take another folder", folder.string(), file.string()));
    if (fs::exists(folder / "samples.txt", ignored))
      throw ConfigError(fmt::format("--pngs {}: contains samples (samples.txt), which reconstructions could replace: take another folder", folder.string()));
  }
  return out;
}

void write_npz(const std::string& file, const std::vector<Image>& images) {
  remove_stale_temporaries_of(file);             // left by a command that was killed
  NpzWriter npz(file);
  npz.begin("arr_0", DType::u8, {images[0].height, images[0].width, images[0].channels});
  for (const Image& image : images) npz.append(std::span<const std::uint8_t>(image.pixels));
  npz.end();
  npz.finish();
}

}  // namespace

void reconstruct(TrainingRun& run, const std::string& files, const PictureConfig& config) {
  const Recipe& recipe = run.recipe();
  const std::vector<fs::path> names = split_files(files);
  const std::vector<fs::path> pngs = png_names(config.pngs, names);
  std::vector<Image> pictures, found;
  for (const fs::path& name : names)
    pictures.push_back(center_crop(read_image(name, narrow<int>(recipe.channels)), narrow<int>(recipe.image_size)));

  const LatentSpace space = run.decoding_space();
  const Rounding rounding = rounding_of(config, space_of(recipe).rounding);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Tensor x = as_tensor(pictures[i]), z = space.encode(x), y = space.decode(z);
    const double error = sum_squares(y - x) / static_cast<double>(x.numel());
    run.context().log.info("{}: latent {}, rms {:.3f}; reconstructed at {:.2f} dB", names[i].string(), to_string(z.shape()),
                           std::sqrt(sum_squares(z) / static_cast<double>(z.numel())), -10 * std::log10(error));
    found.push_back(to_images(y, rounding).front());
    if (config.pngs.empty()) continue;
    fs::create_directories(config.pngs);
    write_png(pngs[i], found.back());
  }
  if (!config.npz.empty()) write_npz(config.npz, found);
  if (config.grid.empty()) return;
  const int columns = fitting_columns(std::ssize(pictures), pictures[0].width, 1);
  std::vector<Image> rows;                       // a row of images, a row of reconstructions, and so on
  for (std::size_t i = 0; i < pictures.size(); i += static_cast<std::size_t>(columns))
    for (const auto* list : {&pictures, &found})
      for (std::size_t k = i; k < i + static_cast<std::size_t>(columns); ++k) rows.push_back(k < list->size() ? (*list)[k] : Image{});
  write_png(config.grid, make_grid(rows, columns));
  run.context().log.info("images above, reconstructions below: {}", config.grid);
}

}  // namespace fm
