// Sets of images: order, subfolders, arrays, and what is refused.
#include "data/picture_set.h"

#include <doctest/doctest.h>

#include <fstream>
#include <numeric>

#include "data/png.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;
namespace fs = std::filesystem;

namespace {

void draw(const fs::path& file, std::uint8_t value, int channels = 3, int width = 3, int height = 2) {
  fs::create_directories(file.parent_path());
  write_png(file, blank_image(width, height, channels, value));
}

std::vector<int> first_values(const PictureSet& set) {
  std::vector<int> out;
  for (std::int64_t i = 0; i < set.count(); ++i) out.push_back(set.image(i).pixels.at(0));
  return out;
}

std::vector<std::uint8_t> rising(std::size_t n) {
  std::vector<std::uint8_t> out(n);
  std::iota(out.begin(), out.end(), std::uint8_t{0});
  return out;
}

template <class T> void save_array(const fs::path& file, const std::vector<std::int64_t>& shape, const std::vector<T>& values) { write_npy<T>(file, shape, values); }

// A PNG whose header claims `bits` a channel and this color type. The checksum of the header is left wrong: these bytes are not reached.
std::string header_of_png(char bits, char color) {
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01", 24);
  return png + bits + color + std::string(20, '\0');
}

}  // namespace

TEST_CASE("a folder's images come in the byte order of their names, and subfolders are left out with a note") {
  const TempFolder t;
  draw(t / "b.png", 2), draw(t / "B.png", 1), draw(t / "a10.png", 3), draw(t / "a9.png", 4), draw(t / "sub/x.png", 9), draw(t / ".hidden.png", 9);
  std::ofstream(t / "samples.txt") << "settings";
  const auto set = open_picture_set(t.path().string());
  CHECK(set->count() == 4);
  CHECK(set->has_names());
  CHECK(set->member(0) == "B.png");
  CHECK(first_values(*set) == std::vector<int>{1, 3, 4, 2});
  REQUIRE(set->notes().size() == 1);
  CHECK(has(set->notes()[0], "1 subfolder is left out"));
}

TEST_CASE("images of subfolders at any depth are taken if the folder itself has none") {
  const TempFolder t;
  for (int i = 0; i < 9; ++i) draw(t / fs::path("n" + std::to_string(i)) / "deep" / "x.png", static_cast<std::uint8_t>(i));
  draw(t / "n3/y.png", 77);
  const auto set = open_picture_set(t.path().string());
  CHECK(first_values(*set) == std::vector<int>{0, 1, 2, 3, 77, 4, 5, 6, 7, 8});
  CHECK(set->member(4) == "n3/y.png");
  CHECK(set->notes().empty());
}

TEST_CASE("an array's rows are images of height x width x channels") {
  const TempFolder t;
  const std::vector<std::uint8_t> x = rising(2 * 2 * 4 * 3);
  {
    NpzWriter npz(t / "a.npz");
    npz.add<std::uint8_t>("arr_0", {2, 2, 4, 3}, x);
    npz.add<std::int64_t>("arr_1", {2}, std::vector<std::int64_t>{5, 6});
    npz.finish();
  }
  const auto set = open_picture_set((t / "a.npz").string());
  CHECK(set->count() == 2);
  CHECK_FALSE(set->has_names());
  const Image second = set->image(1);
  CHECK(second.width == 4);
  CHECK(second.height == 2);
  CHECK(second.channels == 3);
  CHECK(second.at(3, 1)[2] == 47);
  save_array<std::uint8_t>(t / "grey.npy", {2, 2, 4}, rising(16));
  const Image grey = open_picture_set((t / "grey.npy").string())->image(1);
  CHECK(grey.channels == 1);
  CHECK(*grey.at(3, 1) == 15);
}

TEST_CASE("what is no set of images is refused in one line") {
  const TempFolder t;
  const auto refusal = [](const fs::path& path) { return error_of<Error>([&] { open_picture_set(path.string()); }); };
  CHECK(has(error_of<ConfigError>([] { open_picture_set(""); }), "needs a path"));
  CHECK(has(refusal(t / "nothing"), "no such folder or file"));
  fs::create_directories(t / "empty");
  CHECK(has(refusal(t / "empty"), "no images"));
  fs::create_directories(t / "foreign");
  std::ofstream(t / "foreign/a.bmp") << "BM";
  CHECK(has(refusal(t / "foreign"), "its 1 images have other formats"));
  std::ofstream(t / "a.txt") << "no";
  CHECK(has(refusal(t / "a.txt"), "not a set of images"));
  save_array<float>(t / "f.npy", {2, 2, 4, 3}, std::vector<float>(48));
  CHECK(has(refusal(t / "f.npy"), "images are uint8 (N, H, W, C)"));
  save_array<std::uint8_t>(t / "planes.npy", {2, 3, 4, 4}, rising(96));
  CHECK(has(refusal(t / "planes.npy"), "transpose(0, 2, 3, 1)"));
  save_array<std::uint8_t>(t / "one.npy", {8, 8, 3}, rising(192));
  CHECK(has(refusal(t / "one.npy"), "holds [8, 8, 3], which looks like one image (H, W, C), not like images (N, H, W): save x[None]"));
  {
    NpzWriter npz(t / "two.npz");
    npz.add<std::uint8_t>("mu", {1}, std::vector<std::uint8_t>{1});
    npz.add<std::uint8_t>("sigma", {1}, std::vector<std::uint8_t>{1});
    npz.finish();
  }
  CHECK(has(refusal(t / "two.npz"), "no array arr_0 with images; the file has mu, sigma"));
  std::ofstream(t / "torn.npz") << "PK\x03\x04 torn";
  CHECK(refusal(t / "torn.npz").find("torn.npz") != std::string::npos);
}

TEST_CASE("a damaged image and one of 16 bits are named") {
  const TempFolder t;
  draw(t / "a.png", 1);
  const std::string whole = read_file(t / "a.png");
  std::ofstream(t / "b.png", std::ios::binary) << whole.substr(0, whole.size() - 7);
  std::ofstream(t / "c.png", std::ios::binary) << header_of_png(16, 2);
  const auto set = open_picture_set(t.path().string());
  CHECK(set->image(0).width == 3);
  CHECK(has(error_of<FileError>([&] { set->image(1); }), "b.png: corrupt PNG"));
  CHECK(has(error_of<FileError>([&] { set->image(2); }), "c.png: 16 bits a channel"));
  fs::remove(t / "a.png");
  CHECK(has(error_of<FileError>([&] { set->image(0); }), "a.png"));
}

// A PNG of 2x1 pixels by Python's zlib: (10, 20, 30) with alpha 0 and (40, 50, 60) with alpha 128.
constexpr unsigned char two_pixels_with_alpha[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01,
    0x08, 0x06, 0x00, 0x00, 0x00, 0xf4, 0x22, 0x7f, 0x8a, 0x00, 0x00, 0x00, 0x11, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xe0, 0x12, 0x91, 0x63,
    0xd0, 0x30, 0xb2, 0x69, 0x00, 0x00, 0x03, 0xc7, 0x01, 0x53, 0xce, 0xe3, 0xb4, 0x45, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42,
    0x60, 0x82};

TEST_CASE("alpha is dropped as Pillow's convert drops it, and grey images stay grey") {
  const TempFolder t;
  std::ofstream(t / "a.png", std::ios::binary).write(reinterpret_cast<const char*>(two_pixels_with_alpha), sizeof two_pixels_with_alpha);
  draw(t / "b.png", 5, 1);
  const auto set = open_picture_set(t.path().string());
  CHECK(set->image(0).pixels == std::vector<std::uint8_t>{10, 20, 30, 40, 50, 60});
  CHECK(set->image(1).channels == 1);
}
