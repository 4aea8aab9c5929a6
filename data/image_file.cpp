#include "data/image_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/narrow.h"

#ifdef FM_HAVE_TURBOJPEG
#include <turbojpeg.h>
#endif
#ifdef FM_HAVE_WEBP
#include <webp/decode.h>
#endif

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_MAX_DIMENSIONS 65535
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace fm {
namespace {

using View = std::span<const std::uint8_t>;

constexpr std::uint8_t png_signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

bool is_png(View b) { return b.size() >= 8 && std::equal(png_signature, png_signature + 8, b.begin()); }
bool is_jpeg(View b) { return b.size() >= 3 && b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff; }
bool is_webp(View b) { return b.size() >= 12 && std::memcmp(b.data(), "RIFF", 4) == 0 && std::memcmp(b.data() + 8, "WEBP", 4) == 0; }

[[noreturn]] void fail(const std::string& name, std::string_view reason) { throw FileError(fmt::format("{}: {}", name, reason)); }

std::uint32_t be32(const std::uint8_t* p) { return std::uint32_t(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3]; }  // fits: four bytes

// A few bytes of header can claim gigabytes of pixels. max_pixels is Pillow's limit. A JPEG takes at least a bit for a block of 8x8 pixels, so a byte
// gives at most 512 pixels; max_a_byte allows twice that. Images of up to max_sparse, 4 million pixels, are not compared with their bytes.
constexpr std::int64_t max_pixels = 178'956'970, max_sparse = 1 << 22, max_a_byte = 1024;

void check_size(int width, int height, std::size_t bytes, const std::string& name) {
  const std::int64_t pixels = std::int64_t{width} * height;
  if (pixels > max_pixels)
    fail(name, fmt::format("an image of {}x{}: at most {} pixels are read; make it smaller", width, height, max_pixels));
  if (pixels > max_sparse && pixels / max_a_byte > std::int64_t(bytes))
    fail(name, fmt::format("corrupt image: {}x{} pixels in {} bytes", width, height, bytes));
}

bool is_chunk(const std::uint8_t* type, const char* name) { return std::memcmp(type, name, 4) == 0; }

// stb_image ignores checksums and would accept a damaged image, so this walks the chunks and compares them. Returns whether a data chunk is empty.
bool check_png(View b, const std::string& name) {
  std::size_t at = 8;
  bool empty_data = false;
  while (true) {
    if (b.size() - at < 12) fail(name, "corrupt PNG: it ends before its IEND chunk");
    const std::size_t length = be32(b.data() + at);
    if (length > b.size() - at - 12) fail(name, "corrupt PNG: it ends inside a chunk");
    const std::uint8_t* type = b.data() + at + 4;
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // tests/fuzz leaves out checks that random bytes never pass
    if (std::uint32_t(crc32(0, type, uInt(length + 4))) != be32(type + 4 + length)) {  // fits: a CRC-32
      fail(name, fmt::format("corrupt PNG: checksum of the chunk at byte {} is wrong", at));
    }
#endif
    if (is_chunk(type, "IEND")) return empty_data;
    empty_data |= length == 0 && is_chunk(type, "IDAT");
    at += length + 12;
  }
}

// Copies a checked PNG without its empty data chunks. PNG allows them, but stb_image copies the first of them to a null pointer.
std::vector<std::uint8_t> without_empty_data(View b) {
  std::vector<std::uint8_t> kept;
  kept.reserve(b.size());
  kept.assign(b.begin(), b.begin() + 8);
  for (std::size_t at = 8, size = 0; at < b.size(); at += size) {
    const View chunk = b.subspan(at, size = be32(b.data() + at) + std::size_t{12});
    if (size > 12 || !is_chunk(chunk.data() + 4, "IDAT")) kept.insert(kept.end(), chunk.begin(), chunk.end());
    if (is_chunk(chunk.data() + 4, "IEND")) break;
  }
  return kept;
}

Image decode_png(View b, const std::string& name) {
  if (b.size() > std::size_t(1) << 30) fail(name, "image file above 1 GiB");
  std::vector<std::uint8_t> mended;
  if (check_png(b, name)) b = mended = without_empty_data(b);
  Image image;
  if (stbi_info_from_memory(b.data(), narrow<int>(b.size(), "bytes"), &image.width, &image.height, nullptr))
    check_size(image.width, image.height, max_pixels, name);
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(b.data(), narrow<int>(b.size(), "bytes"), &image.width, &image.height, &image.channels, 0), stbi_image_free);
  if (!pixels) fail(name, fmt::format("corrupt or unsupported PNG: {}", stbi_failure_reason()));
  image.pixels.assign(pixels.get(), pixels.get() + std::size_t(image.width) * image.height * image.channels);
  return image;
}

#ifdef FM_HAVE_TURBOJPEG
// libjpeg-turbo fills the missing part of a truncated JPEG with grey; a missing end marker reveals it.
void check_jpeg_end(View b, const std::string& name) {
  constexpr std::uint8_t end[2] = {0xff, 0xd9};
  if (std::search(b.rbegin(), b.rend(), std::rbegin(end), std::rend(end)) == b.rend()) fail(name, "truncated JPEG: no end marker");
}

// Four inks, inverted as Adobe's programs write them, to RGB as Pillow converts: (1 - ink)(1 - black) on integers.
Image rgb_of_inverted_cmyk(const Image& inks) {
  Image rgb = blank_image(inks.width, inks.height, 3);
  for (std::size_t i = 0; i < rgb.pixels.size() / 3; ++i) {
    const int black = inks.pixels[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = (255 - inks.pixels[4 * i + c]) * black + 128;
      rgb.pixels[3 * i + c] = std::uint8_t(black - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}

Image decode_jpeg(View b, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), tjDestroy);
  if (!handle) fail(name, fmt::format("libjpeg-turbo did not start: {}", tjGetErrorStr2(nullptr)));
  const auto refuse = [&] { fail(name, fmt::format("corrupt or unsupported JPEG: {}", tjGetErrorStr2(handle.get()))); };
  int sampling = 0, space = 0;
  Image image;
  if (tjDecompressHeader3(handle.get(), b.data(), b.size(), &image.width, &image.height, &sampling, &space) != 0) refuse();
  check_size(image.width, image.height, b.size(), name);
  const bool cmyk = space == TJCS_CMYK || space == TJCS_YCCK;
  image = blank_image(image.width, image.height, space == TJCS_GRAY ? 1 : cmyk ? 4 : 3);
  const int format = space == TJCS_GRAY ? TJPF_GRAY : cmyk ? TJPF_CMYK : TJPF_RGB;
  constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;  // as Pillow decodes; at most 500 scans, because each costs a whole image
  if (tjDecompress2(handle.get(), b.data(), b.size(), image.pixels.data(), image.width, 0, image.height, format, flags) != 0) {
    if (std::string_view(tjGetErrorStr2(handle.get())).find("Premature end") != std::string_view::npos) fail(name, "truncated JPEG");
    if (tjGetErrorCode(handle.get()) != TJERR_WARNING) refuse();
    check_jpeg_end(b, name);  // other warnings: stray bytes were skipped, the image is complete
  }
  if (cmyk) return rgb_of_inverted_cmyk(image);
  return image;
}
#else
Image decode_jpeg(View, const std::string& name) {
  fail(name, "a JPEG file, and this build is without libjpeg-turbo. Debian: apt-get install libturbojpeg0-dev; meson setup --wipe");
}
#endif

#ifdef FM_HAVE_WEBP
Image decode_webp(View b, const std::string& name) {
  const std::size_t promised = std::size_t{8} + (b[4] | b[5] << 8 | b[6] << 16 | std::size_t{b[7]} << 24);
  if (promised > b.size()) fail(name, fmt::format("truncated WebP: {} of {} bytes", b.size(), promised));
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(b.data(), b.size(), &features) != VP8_STATUS_OK) fail(name, "corrupt or unsupported WebP: bad header");
  if (features.has_animation) fail(name, "an animated WebP: save one of its frames as an image");
  check_size(features.width, features.height, max_pixels, name);
  Image image = blank_image(features.width, features.height, features.has_alpha ? 4 : 3);
  const int stride = features.width * image.channels;
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (!decode(b.data(), b.size(), image.pixels.data(), image.pixels.size(), stride)) fail(name, "corrupt WebP: it does not decode");
  return image;
}
#else
Image decode_webp(View, const std::string& name) {
  fail(name, "a WebP file, and this build is without libwebp. Debian: apt-get install libwebp-dev; meson setup --wipe");
}
#endif

}  // namespace

bool reads_webp() {
#ifdef FM_HAVE_WEBP
  return true;
#else
  return false;
#endif
}

Image decode_image(View bytes, const std::string& name, int channels, Alpha alpha) {
  if (bytes.empty()) fail(name, "empty file");
  Image image;
  if (is_png(bytes)) {
    image = decode_png(bytes, name);
  } else if (is_jpeg(bytes)) {
    image = decode_jpeg(bytes, name);
  } else if (is_webp(bytes)) {
    image = decode_webp(bytes, name);
  } else {
    fail(name, "neither a PNG, a JPEG nor a WebP file");
  }
  image = without_alpha(std::move(image), alpha);
  if (channels == 0) return image;
  return with_channels(std::move(image), channels);
}

bool is_intact_png(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const std::string bytes = read_file(path);
  const View view{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  if (!is_png(view)) return false;
  try {
    check_png(view, path.string());
    return true;
  } catch (const FileError&) {
    return false;
  }
}

Image read_image(const std::filesystem::path& path, int channels) {
  const std::string bytes = read_file(path);
  return decode_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, path.string(), channels);
}

}  // namespace fm
