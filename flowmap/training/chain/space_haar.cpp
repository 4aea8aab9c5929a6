// Pixels in the Haar basis as latents (flowmap/training/haar_space.h): the latent space of pixels with another coder and shape.
#include <fmt/format.h>

#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/haar_space.h"
#include "tensor/error.h"

namespace fm {

SpaceSpec pixels_row();                                      // space_pixels.cpp

namespace {

Shape haar_shape(const Recipe& r) { return {4 * r.channels, r.image_size / 2, r.image_size / 2}; }

class HaarOfRun : public RunSpace {
 public:
  explicit HaarOfRun(TrainingRun& run) : run_(run) {}
  LatentCoder coder() override {
    const Recipe& r = run_.recipe();
    return haar_coder({r.channels, r.image_size, r.image_size});
  }

 private:
  TrainingRun& run_;
};

void resolve_haar(Recipe& r) {
  if (r.image_size % 2 != 0)
    throw ConfigError(fmt::format("space haar halves the sides of images, and {} is odd: choose another size, or space = \"pixels\"", r.image_size));
  pixels_row().resolve(r);
}

std::unique_ptr<RunSpace> open_haar(TrainingRun& run) { return std::make_unique<HaarOfRun>(run); }

}  // namespace

SpaceSpec haar_row() {
  SpaceSpec row = pixels_row();
  row.name = "haar", row.says = "the pixels in the Haar basis, four bands of half the side", row.resolve = resolve_haar, row.shape = haar_shape, row.open = open_haar;
  return row;
}

}  // namespace fm
