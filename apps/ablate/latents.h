// ablate --what latents (flowmap/training/ablation/latents.h): trains both sides in folders of --out named after their latent spaces, from the images on.
#pragma once

#include "apps/cli/program.h"
#include "flowmap/training/ablation/variants.h"

namespace fm {

// `fresh`: the flow maps of an earlier comparison are moved aside and trained anew. Returns the exit code. ConfigError if --against is missing, both sides have
// the same latent space, or they differ in more than latent space and network.
int compare_latents(AblateConfig& config, Context& context, bool fresh);

}  // namespace fm
