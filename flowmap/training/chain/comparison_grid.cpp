#include "flowmap/training/chain/comparison_grid.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/font.h"
#include "data/grid.h"
#include "data/png.h"
#include "data/source.h"
#include "flowmap/training/reference.h"
#include "flowmap/training/shown_classes.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t rows_of_block = 4, rows_of_real = 2;
constexpr const char *real_name = "real", *rebuilt_name = "rebuilt";

// Returns the indices of the first `rows` images of each of these classes, row by row; -1 where a class has too few images.
std::vector<std::int64_t> first_of_classes(const SampleSource& test, const std::vector<std::int64_t>& classes, std::int64_t rows) {
  const auto columns = std::ssize(classes);
  std::vector<std::int64_t> out(static_cast<std::size_t>(rows * columns), -1);
  std::vector<std::int64_t> found(classes.size());
  std::int64_t open = rows * columns;
  for (std::int64_t i = 0; i < test.count() && open > 0; ++i) {
    const auto column = std::find(classes.begin(), classes.end(), test.label(i)) - classes.begin();
    if (column == columns || found[static_cast<std::size_t>(column)] == rows) continue;
    out[static_cast<std::size_t>(found[static_cast<std::size_t>(column)]++ * columns + column)] = i;
    --open;
  }
  return out;
}

// Adds test images and, unless samples are their own latents, the same images encoded and decoded.
void add_real(TrainingRun& run, const std::vector<std::int64_t>& classes, std::vector<Image>& pictures, std::vector<std::string>& row_labels) {
  const std::shared_ptr<const SampleSource> test = open_source(run.recipe().data, Split::test);
  const std::vector<std::int64_t> places = first_of_classes(*test, classes, rows_of_real);
  std::vector<std::int64_t> rows = places;
  std::erase(rows, -1);
  if (rows.empty()) return;
  const auto add = [&](const char* name, const std::vector<Image>& found) {
    std::size_t next = 0;
    for (const std::int64_t row : places) pictures.push_back(row < 0 ? Image() : found[next++]);
    row_labels.emplace_back(name);
    row_labels.resize(row_labels.size() + static_cast<std::size_t>(rows_of_real - 1));
  };
  const LatentSpace space = run.decoding_space();
  const bool encodes = space_of(run.recipe()).encodes;
  std::vector<Image> real, rebuilt;
  const auto n = std::ssize(rows), batch = run.sampling_batch();
  for (std::int64_t first = 0; first < n; first += batch) {
    const Tensor x = read_rows(*test, {rows.begin() + first, rows.begin() + std::min(n, first + batch)});
    for (Image& image : to_images(x)) real.push_back(std::move(image));
    if (!encodes) continue;
    for (Image& image : to_images(space.decode(space.encode(x)))) rebuilt.push_back(std::move(image));
  }
  add(real_name, real);
  if (encodes) add(rebuilt_name, rebuilt);
}

}  // namespace

void write_comparison_grid(TrainingRun& run) {
  const Recipe& r = run.recipe();
  const std::int64_t points = r.evaluate.teacher_points;
  const int scale = grid_scale(r.image_size);
  const std::string last = run.last_student();
  const std::string names[] = {fmt::format("teacher {}", points), last + " 1 step", last + " 2 steps", real_name, rebuilt_name};
  int left = 0;                                  // width of the row labels in pixels
  for (const std::string& name : names) left = std::max(left, text_width(name) + 6);
  const ShownClasses shown = shown_classes(r.classes, run.class_names(), narrow<int>(r.image_size), scale, left);
  if (!shown.title.empty()) run.context().log.info("samples.png shows {}, at equal distances", shown.title);
  const auto columns = std::ssize(shown.labels);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows_of_block * columns; ++i) labels.push_back(shown.labels[static_cast<std::size_t>(i % columns)]);
  std::vector<Image> pictures;
  std::vector<std::string> row_labels;
  add_real(run, shown.labels, pictures, row_labels);
  const auto add = [&](const std::string& name, const LatentGenerator& generate) {
    for (Image& image : to_images(generate_images(run.decoding_space(), generate, consecutive(0, rows_of_block * columns), labels,
                                                  static_cast<std::uint64_t>(r.seed), run.sampling_batch())))
      pictures.push_back(std::move(image));
    for (std::int64_t i = 0; i < rows_of_block; ++i) row_labels.push_back(i == 0 ? name : "");
  };
  add(names[0], run.teacher_generator(run.load_teacher().v(), points));
  const auto student = run.load_student(last);
  for (const int n : {1, 2})
    if (takes_calls(run.aim_of(last).jumps, n)) add(names[n], run.student_generator(last, student, n));
  write_png(run.root() / "samples.png", make_grid(pictures, {.columns = narrow<int>(columns),
                                                             .scale = scale,
                                                             .title = shown.title,
                                                             .column_labels = shown.names,
                                                             .row_labels = row_labels}));
}

}  // namespace fm
