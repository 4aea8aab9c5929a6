// ablate --what latents (flowmap/training/ablation/latents.h): trains both sides in folders of --out named after their latent spaces, from the images on.
#pragma once

#include "apps/cli/program.h"
#include "flowmap/training/ablation/variants.h"

namespace fm {

// `fresh`: the flow maps of an earlier comparison are moved aside and trained anew. Returns the exit code. ConfigError if --against is missing, both sides have
// the same latent space, they differ in more than latent space and network (check_equal_work), an option is given that this comparison does not read, or an
// earlier call has trained a stage before the flow maps with other settings.
int compare_latents(AblateConfig& config, Context& context, bool fresh);

}  // namespace fm
