// samples.png of a run: a grid with real images, their reconstructions, and samples of teacher and flow map below each other.
#pragma once

#include "flowmap/training/chain/training_run.h"

namespace fm {

// Writes samples.png with one column for each class, or for some of many classes. The blocks of rows are images of the test split, the same images encoded
// and decoded, samples of the teacher, and samples of the last flow map in one call and in two. All generators start from the same noise.
void write_comparison_grid(TrainingRun& run);

}  // namespace fm
