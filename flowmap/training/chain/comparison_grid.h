// Grids that compare images of several generators: one column for each class, blocks of rows from the same noise. samples.png of a run is such a grid.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/generator.h"
#include "flowmap/training/shown_classes.h"

namespace fm {

class ComparisonGrid {
 public:
  // `names`: the names of all blocks to come, which stand to the left of the rows. `rows`: rows of images in the block of a generator. `run` must outlive
  // the grid.
  ComparisonGrid(TrainingRun& run, const std::vector<std::string>& names, std::int64_t rows);

  // Adds test images and, unless samples are their own latents, the same images encoded and decoded.
  void add_real(std::int64_t rows);
  // Adds a block of samples. All generators get the same noise, that of `seed`.
  void add(const std::string& name, const LatentGenerator& generate, std::uint64_t seed);

  const std::string& title() const { return shown_.title; }        // "16 of 1000 classes"; empty if all classes are shown
  Image image() const;

  static constexpr const char *real_name = "real", *rebuilt_name = "rebuilt";    // names of the blocks that add_real() adds

 private:
  void add_block(const std::string& name, std::vector<Image> block, std::int64_t rows);

  TrainingRun& run_;
  std::int64_t rows_;
  int scale_;
  ShownClasses shown_;
  std::vector<Image> images_;
  std::vector<std::string> row_labels_;
};

// Writes samples.png with the blocks real, rebuilt, teacher, and the last flow map in one call and in two.
void write_comparison_grid(TrainingRun& run);

}  // namespace fm
