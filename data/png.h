// Writes PNG (ISO/IEC 15948), 8-bit grey or RGB.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/image.h"

namespace fm {

std::vector<std::uint8_t> encode_png(const Image& image);

// The file appears complete or not at all.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace fm
