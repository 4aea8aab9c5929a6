// Folders of synthetic PNGs, one class in each folder: squares of one brightness on a background of another, so that classes are distinguishable.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "data/png.h"

namespace fm::test {

struct DrawnPictures {
  int width = 16, height = 16;
  bool grey = false;
  std::vector<int> counts{20, 20};         // images of each class
};

inline void draw_picture_folder(const std::filesystem::path& folder, const DrawnPictures& p) {
  for (std::size_t k = 0; k < p.counts.size(); ++k) {
    const std::filesystem::path own = folder / fmt::format("class{}", k);
    std::filesystem::create_directories(own);
    for (int i = 0; i < p.counts[k]; ++i) {
      Image image = blank_image(p.width, p.height, p.grey ? 1 : 3, static_cast<std::uint8_t>(20 + 7 * i % 60));
      const int side = std::min(p.width, p.height) / 2, left = i * 3 % (p.width - side), top = i * 5 % (p.height - side);
      for (int y = top; y < top + side; ++y)
        for (int x = left; x < left + side; ++x) image.at(x, y)[p.grey ? 0 : k % 3] = static_cast<std::uint8_t>(120 + 40 * k);
      write_png(own / fmt::format("{:04}.png", i), image);
    }
  }
}

}  // namespace fm::test
