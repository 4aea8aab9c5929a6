#include "data/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {

Image blank_image(int width, int height, int channels, std::uint8_t value) {
  if (width < 0 || height < 0 || channels < 1 || channels > 4) {
    throw ShapeError(fmt::format("blank_image: width {}, height {}, channels {}: sizes must not be negative, channels 1 to 4", width, height,
                                 channels));
  }
  Image image{width, height, channels, {}};
  image.pixels.assign(std::size_t(width) * height * channels, value);
  return image;
}

Image without_alpha(Image image, Alpha mode) {
  if (image.channels != 2 && image.channels != 4) return image;
  const int kept = image.channels - 1;
  Image out = blank_image(image.width, image.height, kept);
  const std::size_t count = std::size_t(image.width) * image.height;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* in = image.pixels.data() + i * image.channels;
    const int alpha = mode == Alpha::dropped ? 255 : in[kept];
    for (int c = 0; c < kept; ++c) out.pixels[i * kept + c] = std::uint8_t((in[c] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
  return out;
}

Image with_channels(Image image, int channels) {
  if (channels != 1 && channels != 3) throw ShapeError(fmt::format("with_channels: {} channels wanted, 1 or 3 are possible", channels));
  image = without_alpha(std::move(image));
  if (image.channels == channels) return image;
  Image out = blank_image(image.width, image.height, channels);
  const std::size_t count = std::size_t(image.width) * image.height;
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      std::fill_n(out.pixels.data() + 3 * i, 3, image.pixels[i]);
    } else {
      const std::uint8_t* in = image.pixels.data() + 3 * i;
      out.pixels[i] = std::uint8_t((in[0] * 19595 + in[1] * 38470 + in[2] * 7471 + 0x8000) >> 16);
    }
  }
  return out;
}

namespace {

// Calls set(interleaved index, planar index) for every value.
template <class F>
void for_each_value(int channels, int height, int width, const F& set) {
  const std::size_t plane = std::size_t(height) * width;
  for (std::size_t i = 0; i < plane; ++i) {
    for (int c = 0; c < channels; ++c) set(i * channels + c, c * plane + i);
  }
}

}  // namespace

Image image_from_planes(const std::uint8_t* planes, int channels, int height, int width) {
  Image image = blank_image(width, height, channels);
  for_each_value(channels, height, width, [&](std::size_t at, std::size_t from) { image.pixels[at] = planes[from]; });
  return image;
}

Image image_from_planes(const float* planes, int channels, int height, int width, float low, float high) {
  Image image = blank_image(width, height, channels);
  for_each_value(channels, height, width, [&](std::size_t at, std::size_t from) {
    const float level = (planes[from] - low) / (high - low) * 255.0f + 0.5f;
    image.pixels[at] = std::isnan(level) ? 0 : std::uint8_t(std::clamp(level, 0.0f, 255.0f));
  });
  return image;
}

void planes_from_image(const Image& image, std::uint8_t* planes) {
  const std::size_t plane = std::size_t(image.height) * image.width, channels = std::size_t(image.channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const std::uint8_t* from = image.pixels.data() + c;
    for (std::size_t i = 0; i < plane; ++i) planes[c * plane + i] = from[i * channels];
  }
}

}  // namespace fm
