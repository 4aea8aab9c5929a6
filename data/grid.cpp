#include "data/grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "data/font.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// The layout, in pixels of the result.
struct GridLayout {
  int columns, rows, channels;
  int cell_height;
  int left, top;                   // position of the first cell
  std::vector<int> column_widths;  // a column is as wide as its images or its label
};

int text_height(const GridOptions& o) { return (glyph_height + 4) * o.text_scale; }

GridLayout layout_of(const std::vector<Image>& images, const GridOptions& o) {
  if (images.empty() || o.columns < 0 || o.pad < 0 || o.scale < 1 || o.text_scale < 1) {
    throw ShapeError(fmt::format("make_grid: {} images, columns {}, pad {}, scale {}, text_scale {}: needs an image, columns and pad >= 0, scales >= 1", images.size(), o.columns, o.pad, o.scale,
                                 o.text_scale));
  }
  GridLayout l{};
  l.columns = o.columns;
  while (o.columns == 0 && std::size_t(l.columns) * l.columns < images.size()) ++l.columns;
  l.rows = (narrow<int>(images.size()) + l.columns - 1) / l.columns;
  if (o.column_labels.size() > std::size_t(l.columns) || o.row_labels.size() > std::size_t(l.rows)) {
    throw ShapeError(fmt::format("make_grid: {} column and {} row labels for {} columns and {} rows: at most one label for each", o.column_labels.size(),
                                 o.row_labels.size(), l.columns, l.rows));
  }
  l.channels = 1;
  int width = 0;
  for (const Image& image : images) {
    if (!image.empty() && image.channels != 1 && image.channels != 3) {
      throw ShapeError(fmt::format("make_grid: an image has {} channels; 1 or 3 are possible", image.channels));
    }
    if (image.channels == 3) l.channels = 3;
    width = std::max(width, image.width * o.scale);
    l.cell_height = std::max(l.cell_height, image.height * o.scale);
  }
  l.column_widths.assign(std::size_t(l.columns), width + 2 * o.pad);
  for (std::size_t c = 0; c < o.column_labels.size(); ++c) {
    l.column_widths[c] = std::max(l.column_widths[c], text_width(o.column_labels[c], o.text_scale) + 4 * o.text_scale);
  }
  l.cell_height += 2 * o.pad;
  for (const std::string& label : o.row_labels) l.left = std::max(l.left, text_width(label, o.text_scale) + 6 * o.text_scale);
  l.top = (o.title.empty() ? 0 : text_height(o)) + (o.column_labels.empty() ? 0 : text_height(o));
  return l;
}

void paste(Image& out, const Image& image, int x, int y, int scale) {
  for (int row = 0; row < image.height * scale; ++row) {
    for (int column = 0; column < image.width * scale; ++column) {
      const std::uint8_t* from = image.at(column / scale, row / scale);
      std::uint8_t* to = out.at(x + column, y + row);
      for (int c = 0; c < out.channels; ++c) to[c] = from[image.channels == 1 ? 0 : c];
    }
  }
}

void draw_labels(Image& out, const GridLayout& l, const GridOptions& o) {
  const int margin = 2 * o.text_scale;
  draw_text(out, margin, margin, o.title, o.ink, o.text_scale);
  int x = l.left;
  for (std::size_t c = 0; c < o.column_labels.size(); ++c) {
    const int indent = (l.column_widths[c] - text_width(o.column_labels[c], o.text_scale)) / 2;
    draw_text(out, x + indent, l.top - text_height(o) + margin, o.column_labels[c], o.ink, o.text_scale);
    x += l.column_widths[c];
  }
  for (std::size_t r = 0; r < o.row_labels.size(); ++r) {
    const int y = l.top + narrow<int>(r) * l.cell_height + (l.cell_height - glyph_height * o.text_scale) / 2;
    draw_text(out, margin, y, o.row_labels[r], o.ink, o.text_scale);
  }
}

}  // namespace

int fitting_columns(std::int64_t wanted, int picture_width, int scale, int left, int label_width) {
  const std::int64_t column = std::max<std::int64_t>(std::int64_t{picture_width} * scale + 2 * GridOptions().pad, label_width);
  return narrow<int>(std::clamp<std::int64_t>((max_grid_width - left) / std::max<std::int64_t>(column, 1), 1, std::max<std::int64_t>(wanted, 1)));
}

std::string fitted_label(const std::string& text, int width, int text_scale) {
  std::string out = text;
  for (std::size_t kept = text.size(); kept > 0 && text_width(out, text_scale) + 4 * text_scale > width; --kept)
    out = text.substr(0, kept - 1) + "..";
  return out;
}

Image make_grid(const std::vector<Image>& images, const GridOptions& o) {
  const GridLayout l = layout_of(images, o);
  const int cells = std::accumulate(l.column_widths.begin(), l.column_widths.end(), 0);
  const int title = o.title.empty() ? 0 : text_width(o.title, o.text_scale) + 4 * o.text_scale;
  Image out = blank_image(std::max(l.left + cells, title), l.top + l.rows * l.cell_height, l.channels, o.background);
  draw_labels(out, l, o);
  for (std::size_t i = 0; i < images.size(); ++i) {
    const int row = narrow<int>(i) / l.columns, column = narrow<int>(i) % l.columns, width = l.column_widths[std::size_t(column)];
    const int x = std::accumulate(l.column_widths.begin(), l.column_widths.begin() + column, l.left);
    paste(out, images[i], x + (width - images[i].width * o.scale) / 2, l.top + row * l.cell_height + (l.cell_height - images[i].height * o.scale) / 2,
          o.scale);
  }
  return out;
}

Image make_grid(const std::vector<Image>& images, int columns, int pad, int scale) {
  GridOptions options;
  options.columns = columns, options.pad = pad, options.scale = scale;
  return make_grid(images, options);
}

}  // namespace fm
