// Compares resizing and JPEG decoding with Pillow's results for the same images (tests/golden/pillow_*.py and .txt).
#include <doctest/doctest.h>

#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "data/image_file.h"
#include "data/pillow_resize.h"
#include "tensor/error.h"

using namespace fm;

namespace {

std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) bytes.push_back(std::uint8_t(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::ifstream golden(const std::string& name) {
  std::ifstream in(std::string(FM_TESTS_FOLDER) + "/golden/" + name);
  REQUIRE(in.good());
  return in;
}

// The same image as `picture` in pillow_resize.py makes.
Image picture(int width, int height, int channels) {
  Image image = blank_image(width, height, channels);
  for (int i = 0; i < int(image.pixels.size()); ++i) {
    const int noise = int((std::uint32_t(i) + 1) * 2654435761u >> 24);
    image.pixels[std::size_t(i)] = std::uint8_t(noise >= 100 ? noise : (i / channels % width) * 255 / width);
  }
  return image;
}

Image made(const std::string& kind, const Image& in, int width, int height) {
  if (kind == "crop" || kind == "large-crop") return center_crop(in, width);
  return pillow_resize(in, width, height,
                       kind == "box" ? PillowFilter::box : kind == "bilinear" ? PillowFilter::bilinear : PillowFilter::bicubic);
}

}  // namespace

TEST_CASE("resizing and the center crop give Pillow's bytes") {
  std::ifstream in = golden("pillow_resize.txt");
  std::string kind, hex;
  int width, height, channels, out_width, out_height, lines = 0;
  while (in >> kind >> width >> height >> channels >> out_width >> out_height >> hex) {
    INFO(kind, " ", width, "x", height, " to ", out_width, "x", out_height);
    const Image out = made(kind, picture(width, height, channels), out_width, out_height);
    CHECK(out.width == out_width);
    CHECK(out.height == out_height);
    if (kind.starts_with("large-")) CHECK(crc32(0, out.pixels.data(), uInt(out.pixels.size())) == std::stoul(hex, nullptr, 16));
    else CHECK(out.pixels == from_hex(hex));
    ++lines;
  }
  CHECK(lines == 40);
}

TEST_CASE("resizing only a part of an image gives the same pixels as resizing all of it") {
  const Image in = picture(23, 31, 3);
  for (const auto& [width, height] : {std::pair{11, 15}, {23, 15}, {40, 31}, {23, 31}, {30, 50}}) {
    const Image whole = pillow_resize(in, width, height, PillowFilter::bicubic);
    for (const PixelBox& box : {PixelBox{0, 0, width, height}, {2, 3, 5, 4}, {width - 1, height - 1, 1, 1}})
      CHECK(pillow_resize(in, width, height, PillowFilter::bicubic, box).pixels == cropped(whole, box).pixels);
    CHECK_THROWS_AS(cropped(whole, {1, 0, width, 1}), ShapeError);
  }
}

TEST_CASE("the random crop resizes the shorter side like torchvision, and every place is equally likely") {
  const Image in = picture(25, 14, 1);
  const Image whole = pillow_resize(in, 37, 21, PillowFilter::bicubic);
  std::vector<int> lefts(37 - 14 + 1), tops(21 - 14 + 1);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const PhiloxBlock random = RandomKey{1, 2}.block(i);
    const int top = int(below(random[0], 8)), left = int(below(random[1], 24));
    ++lefts[std::size_t(left)], ++tops[std::size_t(top)];
    if (i < 50) CHECK(random_crop(in, 21, 14, random).pixels == cropped(whole, {left, top, 14, 14}).pixels);
  }
  for (int n : lefts) CHECK(n > 100);
  for (int n : tops) CHECK(n > 400);
  CHECK(random_crop(picture(14, 14, 3), 14, 14, {}).pixels == picture(14, 14, 3).pixels);
  const auto refused = [](const Image& image, int shorter, int size) {
    CHECK_THROWS_WITH_AS(random_crop(image, shorter, size, {}), doctest::Contains("random_crop: "), ShapeError);
  };
  refused(in, 13, 14), refused(in, 14, 0), refused(Image{}, 14, 14);
}

TEST_CASE("resizing refuses empty images and sizes out of range") {
  CHECK_THROWS_AS(pillow_resize(Image{}, 2, 2, PillowFilter::box), ShapeError);
  CHECK_THROWS_AS(pillow_resize(blank_image(2, 2, 1), 0, 2, PillowFilter::box), ShapeError);
  CHECK_THROWS_WITH_AS(center_crop(blank_image(2, 2, 1), 0), "center_crop: 2x2 to 0: sizes must be positive", ShapeError);
  CHECK_THROWS_WITH_AS(center_crop(Image{}, 1), "center_crop: 0x0 to 1: sizes must be positive", ShapeError);
  CHECK_THROWS_AS(pillow_resize(blank_image(2, 2, 1), 4, 4, PillowFilter::box, {1, 1, 4, 1}), ShapeError);
  CHECK(pillow_resize(blank_image(3, 5, 3, 77), 3, 5, PillowFilter::bicubic).pixels == blank_image(3, 5, 3, 77).pixels);
}

#ifdef FM_HAVE_TURBOJPEG
TEST_CASE("JPEG files decode to Pillow's pixels; truncated files are errors") {
  std::ifstream in = golden("pillow_jpeg.txt");
  std::string kind, file, hex;
  int width, height, channels;
  while (in >> kind >> width >> height >> channels >> file >> hex) {
    CAPTURE(kind);
    std::vector<std::uint8_t> bytes = from_hex(file);
    const std::vector<std::uint8_t> want = from_hex(hex);
    const Image image = decode_image(bytes, "a.jpg");
    CHECK(image.width == width);
    CHECK(image.channels == channels);
    REQUIRE(image.pixels.size() == want.size());
    CHECK(image.pixels == want);
    bytes.resize(bytes.size() - 40);
    CHECK_THROWS_WITH_AS(decode_image(bytes, "a.jpg"), doctest::Contains("a.jpg: truncated JPEG"), FileError);
    bytes.resize(30);
    CHECK_THROWS_AS(decode_image(bytes, "a.jpg"), FileError);
  }
}
#endif
