#include "flowmap/training/chain/comparison_grid.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/font.h"
#include "data/grid.h"
#include "data/png.h"
#include "data/source.h"
#include "flowmap/training/reference.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

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

int label_width(const std::vector<std::string>& names) {
  int width = 0;
  for (const std::string& name : names) width = std::max(width, text_width(name) + 6);
  return width;
}

}  // namespace

ComparisonGrid::ComparisonGrid(TrainingRun& run, const std::vector<std::string>& names, std::int64_t rows)
    : run_(run), rows_(rows), scale_(grid_scale(run.recipe().image_size)),
      shown_(shown_classes(run.recipe().classes, run.class_names(), narrow<int>(run.recipe().image_size), scale_, label_width(names))) {}

void ComparisonGrid::add_block(const std::string& name, std::vector<Image> block, std::int64_t rows) {
  for (Image& image : block) images_.push_back(std::move(image));
  row_labels_.push_back(name);
  row_labels_.resize(row_labels_.size() + static_cast<std::size_t>(rows - 1));
}

void ComparisonGrid::add_real(std::int64_t rows) {
  const std::shared_ptr<const SampleSource> test = open_source(run_.recipe().data, Split::test);
  const std::vector<std::int64_t> places = first_of_classes(*test, shown_.labels, rows);
  std::vector<std::int64_t> found = places;
  std::erase(found, -1);
  if (found.empty()) return;
  const LatentSpace space = run_.decoding_space();
  const bool encodes = space_of(run_.recipe()).encodes;
  std::vector<Image> real, rebuilt;
  const auto n = std::ssize(found), batch = run_.sampling_batch();
  for (std::int64_t first = 0; first < n; first += batch) {
    const Tensor x = read_rows(*test, {found.begin() + first, found.begin() + std::min(n, first + batch)});
    for (Image& image : to_images(x)) real.push_back(std::move(image));
    if (!encodes) continue;
    for (Image& image : to_images(space.decode(space.encode(x)))) rebuilt.push_back(std::move(image));
  }
  const auto add = [&](const char* name, const std::vector<Image>& images) {
    std::vector<Image> block;
    std::size_t next = 0;
    for (const std::int64_t place : places) block.push_back(place < 0 ? Image() : images[next++]);
    add_block(name, std::move(block), rows);
  };
  add(real_name, real);
  if (encodes) add(rebuilt_name, rebuilt);
}

void ComparisonGrid::add(const std::string& name, const LatentGenerator& generate, std::uint64_t seed) {
  const auto columns = std::ssize(shown_.labels);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows_ * columns; ++i) labels.push_back(shown_.labels[static_cast<std::size_t>(i % columns)]);
  add_block(name, to_images(generate_images(run_.decoding_space(), generate, consecutive(0, rows_ * columns), labels, seed, run_.sampling_batch())), rows_);
}

Image ComparisonGrid::image() const {
  return make_grid(images_, {.columns = narrow<int>(std::ssize(shown_.labels)),
                             .scale = scale_,
                             .title = shown_.title,
                             .column_labels = shown_.names,
                             .row_labels = row_labels_});
}

void write_comparison_grid(TrainingRun& run) {
  constexpr std::int64_t rows_of_block = 4, rows_of_real = 2;
  const Recipe& r = run.recipe();
  const std::int64_t points = r.evaluate.teacher_points;
  const std::string last = run.last_student(), teacher = fmt::format("teacher {}", points);
  const auto name = [&](int calls) { return last + (calls == 1 ? " 1 step" : " 2 steps"); };
  ComparisonGrid grid(run, {teacher, name(1), name(2), ComparisonGrid::real_name, ComparisonGrid::rebuilt_name}, rows_of_block);
  if (!grid.title().empty()) run.context().log.info("samples.png shows {}, at equal distances", grid.title());
  const auto seed = static_cast<std::uint64_t>(r.seed);
  grid.add_real(rows_of_real);
  grid.add(teacher, run.teacher_generator(run.load_teacher(), points), seed);
  const auto student = run.load_student(last);
  for (const int n : {1, 2})
    if (takes_calls(run.aim_of(last).jumps, n)) grid.add(name(n), run.student_generator(last, student, n), seed);
  write_png(run.root() / "samples.png", grid.image());
}

}  // namespace fm
