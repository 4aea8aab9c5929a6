// Reads PNG, JPEG and WebP. libjpeg-turbo decodes JPEG, because stb_image's JPEG decoder writes beyond its tables on hostile files (tests/fuzz found
// this). stb_image decodes PNG after the checksums were verified. libwebp decodes WebP, in builds that found it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "data/image.h"

namespace fm {

// `channels` 1 or 3 converts; 0 keeps the file's channels, without alpha. FileError names the file and the reason.
Image read_image(const std::filesystem::path& path, int channels = 0);

// The same from memory; `name` is for the error message.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, int channels = 0, Alpha alpha = Alpha::over_white);

// Whether this build reads WebP.
bool reads_webp();

// Whether the file is a PNG with all its chunks and right checksums. Decodes nothing, so it takes a tenth of the work of read_image().
bool is_intact_png(const std::filesystem::path& path);

}  // namespace fm
