// A 5x7 dot font for labels on images: printable ASCII, all other characters become '?'.
#pragma once

#include <string_view>

#include "data/image.h"

namespace fm {

constexpr int glyph_width = 5, glyph_height = 7, glyph_pitch = 6;

// Width in pixels of one line of text. `scale` magnifies each dot to scale x scale pixels.
int text_width(std::string_view text, int scale = 1);

// Draws a line of text with its top left dot at (x, y). All channels get `value`; parts outside the image are left out.
void draw_text(Image& image, int x, int y, std::string_view text, std::uint8_t value, int scale = 1);

}  // namespace fm
