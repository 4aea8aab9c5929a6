// Writes samples that are not images to a file.
#pragma once

#include "apps/sample/pictures.h"

namespace fm {

// Generates samples first ... first + count - 1 and writes their values to --npz: f32 (count, shape of a sample) under the key arr_0. ConfigError
// without --npz, and if --pngs or --grid request images.
void draw_values(const Source& source, const PictureConfig& config, std::uint64_t seed, Logger& log);

}  // namespace fm
