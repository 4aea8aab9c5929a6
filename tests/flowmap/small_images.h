// Small images whose contents follow from their numbers, and features of three numbers, for tests of sets of images.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/png.h"
#include "flowmap/training/features.h"

namespace fm::test {

inline constexpr int small_height = 7, small_width = 6;

inline std::uint8_t level(std::int64_t image, std::int64_t i) { return static_cast<std::uint8_t>((image * 37 + i * 11 + image * i) % 251); }

// `count` images whose contents follow from their numbers; the names of files sort as the numbers.
inline void draw_set(const std::filesystem::path& folder, std::int64_t count, std::int64_t first = 0, int columns = small_width) {
  std::filesystem::create_directories(folder);
  for (std::int64_t k = 0; k < count; ++k) {
    Image image = blank_image(columns, small_height, 3);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = level(first + k, static_cast<std::int64_t>(i));
    write_png(folder / fmt::format("{:05}.png", k), image);
  }
}

// Features of three numbers: the first value of each channel, in levels. Counts the images that it sees.
struct Corner {
  std::shared_ptr<std::int64_t> seen = std::make_shared<std::int64_t>(0);

  Features features(const std::string& fingerprint = "corner 1") const {
    return {"corner", fingerprint, [seen = seen](const Tensor& x) {
              *seen += x.dim(0);
              std::vector<float> out, twice;
              for (std::int64_t i = 0; i < x.dim(0); ++i)
                for (std::int64_t c = 0; c < 3; ++c) out.push_back(std::round(255 * x.data<float>()[(i * x.dim(1) + c) * x.dim(2) * x.dim(3)]));
              for (const float v : out) twice.push_back(2 * v);
              return Seen{Tensor::from(out, {x.dim(0), 3}), {}, Tensor::from(twice, {x.dim(0), 3}), {}};
            }};
  }
};

}  // namespace fm::test
