// The judge (nn/models/judge.h) as features: its penultimate layer, and its answers.
#pragma once

#include <memory>

#include "flowmap/training/features.h"
#include "nn/models/judge.h"

namespace fm {

Features judge_features(std::shared_ptr<const Judge> judge);     // by the weights that it has now

}  // namespace fm
