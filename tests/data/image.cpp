// Images: PNG written by this project and read by stb_image, damaged files, conversions, text and grids.
#include "data/image.h"

#include <doctest/doctest.h>

#include <zlib.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "data/font.h"
#include "data/grid.h"
#include "data/image_file.h"
#include "data/png.h"
#include "tensor/error.h"
#include "tensor/random/philox.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

Image noise(int width, int height, int channels, int smooth = 1) {
  Image image = blank_image(width, height, channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = smooth > 1 ? std::uint8_t(i / std::size_t(smooth)) : std::uint8_t(RandomKey{1, 2}.block(i)[0]);
  }
  return image;
}

}  // namespace

TEST_CASE("encoding and decoding a PNG gives the same image") {
  for (int channels : {1, 3}) {
    for (const auto& [w, h] : {std::pair{1, 1}, {7, 5}, {64, 33}, {1, 100}}) {
      for (int smooth : {1, 5}) {
        const Image image = noise(w, h, channels, smooth);
        const Image back = decode_image(encode_png(image), "memory");
        CHECK(back.width == w);
        CHECK(back.height == h);
        CHECK(back.channels == channels);
        CHECK(back.pixels == image.pixels);
      }
    }
  }
  CHECK_THROWS_AS(encode_png(Image{}), ShapeError);
  CHECK_THROWS_AS(encode_png(blank_image(2, 2, 4)), ShapeError);
}

TEST_CASE("a PNG has three chunks, and its data are exactly the filtered rows") {
  const auto big_endian = [](const std::vector<std::uint8_t>& b, std::size_t at) { return std::uint32_t(b[at]) << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]; };
  for (int channels : {1, 3}) {
    const Image image = noise(300, 5, channels);
    const std::vector<std::uint8_t> png = encode_png(image);
    CHECK(std::vector<std::uint8_t>(png.begin() + 8, png.begin() + 29) ==
          std::vector<std::uint8_t>{0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 1, 44, 0, 0, 0, 5, 8, std::uint8_t(channels == 3 ? 2 : 0), 0, 0, 0});
    const std::uint32_t size = big_endian(png, 33);
    CHECK(png.size() == 8 + 25 + 12 + size + 12);
    std::vector<std::uint8_t> rows(20000);
    uLongf filled = uLongf(rows.size());
    REQUIRE(uncompress(rows.data(), &filled, png.data() + 41, size) == Z_OK);
    CHECK(filled == 5u * (1 + 300 * unsigned(channels)));
    for (std::size_t y = 0; y < 5; ++y) CHECK(rows[y * (1 + 300 * std::size_t(channels))] <= 4);       // the type of filter is 0 to 4
  }
  // Each image has a row that one filter reduces to zeros: none, the left neighbor, the row above, their average, or Paeth.
  const auto filter_of = [](const Image& image, std::size_t y) {
    const std::vector<std::uint8_t> png = encode_png(image);
    std::vector<std::uint8_t> rows(1000);
    uLongf filled = uLongf(rows.size());
    REQUIRE(uncompress(rows.data(), &filled, png.data() + 41, uLong(png.size() - 57)) == Z_OK);
    return int(rows[y * std::size_t(1 + image.width * image.channels)]);
  };
  CHECK(filter_of({4, 1, 1, {0, 0, 0, 0}}, 0) == 0);
  CHECK(filter_of({4, 1, 1, {9, 9, 9, 9}}, 0) == 1);
  CHECK(filter_of({4, 2, 1, {1, 90, 7, 200, 1, 90, 7, 200}}, 1) == 2);
  CHECK(filter_of({4, 2, 1, {100, 40, 160, 20, 50, 45, 102, 61}}, 1) == 3);
  CHECK(filter_of({4, 2, 1, {10, 60, 60, 200, 10, 60, 60, 200}}, 1) == 2);
  CHECK(filter_of({2, 1, 3, {5, 6, 7, 5, 6, 7}}, 0) == 1);                     // the left neighbor is the previous pixel, not the previous byte
}

TEST_CASE("an image without a size cannot be encoded; the error gives its size, channels and bytes") {
  CHECK_THROWS_WITH_AS(encode_png(Image{}), "encode_png: 0x0 with 0 channels and 0 bytes: needs 1 or 3 channels and width*height*channels bytes", ShapeError);
  CHECK_THROWS_WITH_AS(encode_png(Image{2, 2, 1, {1, 2, 3}}), doctest::Contains("2x2 with 1 channels and 3 bytes"), ShapeError);
  for (const Image& bad : {Image{0, 2, 1, {}}, Image{2, 0, 1, {}}, Image{-2, -2, 1, {1, 2, 3, 4}}, Image{1, 1, 2, {1, 2}}}) CHECK_THROWS_AS(encode_png(bad), ShapeError);
}

TEST_CASE("a written PNG file is read back; filters make smooth images small") {
  const TempFolder folder;
  const auto path = folder / "a.png";
  write_png(path, noise(200, 100, 3, 3));
  CHECK(std::filesystem::file_size(path) < 1500);
  CHECK(read_image(path, 1).channels == 1);
  CHECK(read_image(path).pixels == noise(200, 100, 3, 3).pixels);
  std::filesystem::remove(path);
  CHECK_THROWS_AS(read_image(path), FileError);
}

TEST_CASE("any flipped bit or truncation of a PNG is an error") {
  const auto good = encode_png(noise(9, 9, 3));
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= 0x10;
    CHECK_THROWS_AS(decode_image(bad, "bad.png"), FileError);
    bad.assign(good.begin(), good.begin() + std::ptrdiff_t(i));
    CHECK_THROWS_AS(decode_image(bad, "bad.png"), FileError);
  }
  auto bad = good;
  bad[50] ^= 1;
  CHECK_THROWS_WITH_AS(decode_image(bad, "bad.png"), "bad.png: corrupt PNG: checksum of the chunk at byte 33 is wrong", FileError);
}

TEST_CASE("a PNG with additional empty data chunks is read; a PNG with only empty data chunks is an error") {
  using Bytes = std::vector<std::uint8_t>;
  const Bytes good = encode_png(noise(9, 9, 3)), empty{0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e};
  const Bytes head(good.begin(), good.begin() + 33), data(good.begin() + 33, good.end() - 12), end(good.end() - 12, good.end());
  const auto joined = [](const std::vector<Bytes>& parts) {
    Bytes all;
    for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  CHECK(decode_image(joined({head, empty, empty, data, empty, end}), "padded.png").pixels == noise(9, 9, 3).pixels);
  CHECK_THROWS_WITH_AS(decode_image(joined({head, empty, end}), "bare.png"), "bare.png: corrupt or unsupported PNG: no IDAT", FileError);
}

TEST_CASE("images are converted between gray, RGB and alpha") {
  Image rgba{1, 2, 4, {255, 0, 100, 255, 10, 20, 30, 0}};
  CHECK(with_channels(rgba, 3).pixels == std::vector<std::uint8_t>{255, 0, 100, 255, 255, 255});
  CHECK(with_channels(Image{1, 1, 3, {255, 0, 100}}, 1).pixels[0] == 88);  // Pillow's convert("L") gives 88
  CHECK(with_channels(Image{1, 1, 1, {9}}, 3).pixels == std::vector<std::uint8_t>{9, 9, 9});
  CHECK(without_alpha(Image{1, 1, 2, {100, 51}}).pixels[0] == 224);  // 100 * 0.2 + 255 * 0.8
  CHECK(without_alpha(Image{1, 1, 2, {100, 51}}, Alpha::dropped).pixels[0] == 100);
  CHECK_THROWS_AS(with_channels(rgba, 2), ShapeError);
}

TEST_CASE("images are converted to planes and back") {
  const std::vector<std::uint8_t> planes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const Image image = image_from_planes(planes.data(), 3, 2, 2);
  CHECK(image.pixels == std::vector<std::uint8_t>{1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12});
  std::vector<std::uint8_t> back(12);
  planes_from_image(image, back.data());
  CHECK(back == planes);
  const std::vector<float> levels = {-1, 1, 0, 2, -7, std::numeric_limits<float>::quiet_NaN()};
  CHECK(image_from_planes(levels.data(), 1, 1, 6, -1, 1).pixels == std::vector<std::uint8_t>{0, 255, 128, 255, 0, 0});
}

TEST_CASE("text has the width of text_width and is clipped at the edges") {
  CHECK(text_width("") == 0);
  CHECK(text_width("ab") == 11);
  CHECK(text_width("ab", 2) == 22);
  Image image = blank_image(5, 7, 1, 255);
  draw_text(image, 0, 0, "T", 0);
  int ink = 0;
  for (std::uint8_t p : image.pixels) ink += p == 0;
  CHECK(ink == 11);  // a T has five dots across and six down
  draw_text(image, -3, -3, "WWW", 0, 3);
  draw_text(image, 100, 100, "W", 0);
}

TEST_CASE("a grid places gray and RGB images, labels and blanks") {
  const std::vector<Image> images = {blank_image(4, 3, 1, 10), blank_image(4, 3, 3, 20), Image{}, blank_image(4, 3, 1, 40)};
  const Image plain = make_grid(images, 2, 1, 2);
  CHECK(plain.width == 2 * 10);
  CHECK(plain.height == 2 * 8);
  CHECK(plain.channels == 3);
  CHECK(plain.at(0, 0)[0] == 255);
  CHECK(plain.at(1, 1)[2] == 10);
  CHECK(plain.at(11, 1)[0] == 20);
  CHECK(plain.at(3, 12)[0] == 255);
  CHECK(plain.at(18, 14)[1] == 40);
  CHECK(plain.at(19, 14)[1] == 255);
  GridOptions o;
  o.columns = 2, o.column_labels = {"one", "two"}, o.row_labels = {"teacher 50 steps", "student 1 step"}, o.title = "title";
  const Image labelled = make_grid(images, o);
  CHECK(labelled.width > text_width("teacher 50 steps") + 2 * 8);
  CHECK(labelled.height == 2 * 7 + 2 * 11);
  CHECK(make_grid({images[0], images[0], images[0]}, GridOptions{}).width == 2 * 8);  // three images: two columns
  o.column_labels.push_back("three");
  CHECK_THROWS_AS(make_grid(images, o), ShapeError);
  CHECK_THROWS_AS(make_grid({}, GridOptions{}), ShapeError);
}
