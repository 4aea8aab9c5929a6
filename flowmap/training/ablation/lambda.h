// --what lambda: MF-RAE's Proposition 3.1 as an experiment. MeanFlow towards w = (1-l) (eps - z0) + l v_phi is trained for each l by two teachers, the
// the run's and a poor one with a small share of its steps. The two terms of the proposition (flowmap/bias_variance.h) are measured at the student that each
// training starts from and at the one that it ends with.
//
//   variance        (1-l)^2 E |A (eps - z0 - v)|^2
//   teacher's bias  l^2 E |A (v_phi - v)|^2
//   own bias        E |B|^2, where the exact map is known
//
// v is exact for points whose distribution is known (eight Gaussians), without guidance, labels and normalization. Elsewhere it is the good teacher's,
// without guidance, so the good teacher's bias consists of its guidance alone.
#pragma once

#include <functional>

#include "flowmap/training/ablation/report.h"

namespace fm {

// One training of l = 0, which no teacher changes; each other l by each teacher; and l = 1, then 0, by the poor teacher. The recipe must be resolved.
// ConfigError: a lambda twice.
std::vector<Variant> lambda_variants(const AblateConfig& config);

// The training of the poor teacher: the stage fm with `poor_share` of its steps. ConfigError where that stage has no steps.
Variant poor_teacher(const AblateConfig& config);

// Gives the poor teacher's weights (a file, or FOLDER:ema) to the variants that learn from it.
void use_poor_teacher(std::vector<Variant>& list, const std::string& weights);

// The run that trains a variant, with its teacher.
using RunOf = std::function<TrainingRun&(const Variant&)>;

// Fills in the terms of each trial and the scores of both teachers. `run`: with the good teacher.
void measure_lambda(TrainingRun& run, const RunOf& run_of, Findings& findings);

// The terms and the scores in the fewest calls over lambda; none where a lambda has several variants (--vary).
std::vector<Plot> lambda_plots(const Findings& findings);

}  // namespace fm
