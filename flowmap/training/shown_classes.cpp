#include "flowmap/training/shown_classes.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/class_names.h"
#include "data/font.h"
#include "data/grid.h"

namespace fm {

ShownClasses shown_classes(std::int64_t classes, const std::vector<std::string>& names, int width, int scale, int left) {
  constexpr std::int64_t few = 20, of_many = 16;
  constexpr int label_room = 16 * glyph_pitch;
  const int room = std::max(width * scale + 2 * GridOptions().pad, label_room);
  int widest = 0;
  std::vector<std::string> labels;
  for (const std::string& name : names) {
    labels.push_back(fitted_label(short_class_name(name), room));
    widest = std::max(widest, text_width(labels.back()) + 4);
  }
  const int columns = fitting_columns(classes <= few ? classes : of_many, width, scale, left, widest);
  ShownClasses shown;
  for (std::int64_t i = 0; i < columns; ++i) {
    shown.labels.push_back(i * (classes / columns));
    if (!labels.empty()) shown.names.push_back(labels[static_cast<std::size_t>(shown.labels.back())]);
  }
  if (columns < classes) shown.title = fmt::format("{} of {} classes", columns, classes);
  return shown;
}

}  // namespace fm
