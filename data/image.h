// An image of 8-bit pixels and its conversions. Files are read in image_file.h and written in png.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fm {

struct Image {
  int width = 0, height = 0, channels = 0;  // channels: 1 grey or 3 RGB (readers may pass 2 and 4, with alpha, through without_alpha)
  std::vector<std::uint8_t> pixels;         // (height, width, channels), no padding

  bool empty() const { return pixels.empty(); }
  std::size_t offset(int x, int y) const { return (std::size_t(y) * width + x) * channels; }
  std::uint8_t* at(int x, int y) { return pixels.data() + offset(x, y); }
  const std::uint8_t* at(int x, int y) const { return pixels.data() + offset(x, y); }
};

// An image whose values are all `value`.
Image blank_image(int width, int height, int channels, std::uint8_t value = 0);

enum class Alpha { over_white, dropped };

// Composites alpha over white, or drops it: 2 channels become 1, 4 become 3. Other images are returned unchanged.
Image without_alpha(Image image, Alpha alpha = Alpha::over_white);

// Converts to 1 or 3 channels. Grey by Pillow's weights (ITU-R 601, 16-bit fixed point), RGB by repetition.
Image with_channels(Image image, int channels);

// Makes an image from planes (channels, height, width), the order of tensors and data sets.
Image image_from_planes(const std::uint8_t* planes, int channels, int height, int width);
// The same from floats: `low` becomes 0 and `high` 255, rounded to nearest. Values outside are clipped, and NaN becomes 0.
Image image_from_planes(const float* planes, int channels, int height, int width, float low = 0.0f, float high = 1.0f);
// Writes the image as planes: channels * height * width bytes.
void planes_from_image(const Image& image, std::uint8_t* planes);

}  // namespace fm
