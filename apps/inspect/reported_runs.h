// The authors' training costs, for comparison with a plan: GPU-days of the MF-RAE paper (Hu et al. 2025, sections 5.1 to 5.3), all on H100s
// with products in TF32, as set by the released scripts.
#pragma once

#include <string>
#include <vector>

#include "flowmap/training/chain/costs.h"

namespace fm {

struct ReportedStage {
  std::string name;
  std::int64_t steps, batch;  // steps 0: not published
};

struct ReportedRun {
  std::int64_t image_size;
  std::vector<ReportedStage> stages;  // the stages that the number covers together
  double gpu_days;
};

const std::vector<ReportedRun>& reported_runs();

// True if the recipe trains DiT^DH-XL at the image size of `run`, with the batch and the number of steps of each of its stages.
bool is_recipe_of(const ReportedRun& run, const Recipe& recipe);

// FLOPs of a step in the released code. Its MFD and MFT pass three copies of all rows through the network, forward and backward. This engine
// differentiates only the rows with s < t, and keeps no history of this derivative.
double released_flops(const StageCost& cost);

// The utilisation: the share of an H100's TF32 peak that these FLOPs imply for these GPU-days.
double implied_utilisation(double flops, double gpu_days);

}  // namespace fm
