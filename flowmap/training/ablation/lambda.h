// --what lambda: MF-RAE's Proposition 3.1 as an experiment. MeanFlow with w = (1-l) (eps - z0) + l v_phi is trained for each l with two teachers: the
// run's ("good"), and one that was trained for a small share of its steps ("poor"). The two terms of the proposition (flowmap/bias_variance.h) are
// measured for each student, before and after its training.
//
//   variance        (1-l)^2 E |A (eps - z0 - v)|^2
//   teacher's bias  l^2 E |A (v_phi - v)|^2
//   own bias        E |B|^2, where the exact map is known
//
// v is exact for points whose distribution is known (eight Gaussians), without guidance, labels and normalization. Otherwise v is the velocity of the good
// teacher without guidance, so that the good teacher's bias consists of its guidance alone.
#pragma once

#include <functional>

#include "flowmap/training/ablation/report.h"

namespace fm {

// Lists the trainings. l = 0 is trained once, because it needs no teacher; every other l is trained with each teacher. The last training has two parts,
// l = 1 and then l = 0, with the poor teacher. The recipe must be resolved. ConfigError if no lambda is given, or one is given twice.
std::vector<Variant> lambda_variants(const AblateConfig& config);

// Returns the training of the poor teacher: the stage fm with `poor_share` of its steps. ConfigError if fm.loop.steps is 0.
Variant poor_teacher(const AblateConfig& config);

// ConfigError if the run's teacher is a REG, whose velocity is not one of the latents alone.
void refuse_joint_teacher(TrainingRun& run);

// Sets the weights (a file, or FOLDER:ema) of the poor teacher in the variants that learn from it.
void use_poor_teacher(std::vector<Variant>& list, const std::string& weights);

// Returns the run that trains a variant, with the variant's teacher.
using RunOf = std::function<TrainingRun&(const Variant&)>;

// Measures the terms of each trial (Trial::own) and scores both teachers (Findings::levels). `run`: the run with the good teacher.
void measure_lambda(TrainingRun& run, const RunOf& run_of, Findings& findings);

// Plots the terms, and the scores in the first number of calls, over lambda. Returns no plots if a lambda has several variants (--vary).
std::vector<Plot> lambda_plots(const Findings& findings);

}  // namespace fm
