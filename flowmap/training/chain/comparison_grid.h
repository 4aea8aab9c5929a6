// samples.png of a run: real images, their reconstructions, and samples of teacher and flow map below each other.
#pragma once

#include "flowmap/training/chain/training_run.h"

namespace fm {

// Writes samples.png with one column a class (of many classes some) and these blocks of rows: images of the test split; the same images encoded and decoded,
// where the latent space has an autoencoder; the teacher; the last flow map in one and in two calls. All generators start from the same noise.
void write_comparison_grid(TrainingRun& run);

}  // namespace fm
