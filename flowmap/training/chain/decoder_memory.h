// What training the RAE decoder keeps in memory beside the decoder: the frozen encoder, LPIPS and the discriminator. Counted from the recipe alone.
#pragma once

#include "flowmap/training/chain/stages.h"

namespace fm {

Beside beside_decoder(const Recipe& recipe);

// A lower bound of the numbers that a pass through the encoder keeps of one image, without its pixels.
std::int64_t values_through_encoder(const Recipe& recipe);

// A lower bound of the numbers that a training pass keeps of one image: of the decoder, and of every network that the gradient of the loss passes through.
std::int64_t decoder_values(const Recipe& recipe);

}  // namespace fm
