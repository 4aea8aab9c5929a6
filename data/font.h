// A 5x7 dot font for labels on images: printable ASCII, all other characters become '?'.
#pragma once

#include <string_view>

#include "data/image.h"

namespace fm {

constexpr int glyph_width = 5, glyph_height = 7, glyph_pitch = 6;

// Pixels of one line of text at a whole-number magnification.
int text_width(std::string_view text, int scale = 1);

// Draws a line with its top left dot at (x, y), in one value for all channels; parts outside the image are left out.
void draw_text(Image& image, int x, int y, std::string_view text, std::uint8_t value, int scale = 1);

}  // namespace fm
